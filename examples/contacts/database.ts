// Stores contacts in PostgreSQL, and translates database errors into item errors.
import { PGlite, type Transaction } from '@electric-sql/pglite'
import { ItemError } from '../../lib/index.js'
import type { Contact, ContactChange, NewContact } from './contracts.js'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS contacts (contact_id serial PRIMARY KEY, email text NOT NULL, name text NOT NULL);
  CREATE UNIQUE INDEX IF NOT EXISTS contacts_email ON contacts (lower(email));
`

const COLUMNS = 'contact_id AS "contactId", email, name'

/** Opens PostgreSQL in this process, with PGlite. Without `dir` the database is in memory. */
export async function openDatabase (dir?: string): Promise<PGlite> {
  const db = await PGlite.create(dir)
  await db.exec(SCHEMA)
  return db
}

/**
 * Inserts a contact.
 * @throws ItemError 409, EMAIL_TAKEN
 */
export async function insertContact (tx: Transaction, { email, name }: NewContact): Promise<{ contactId: number }> {
  const { rows } = await unlessTaken(tx.query<Contact>(`INSERT INTO contacts (email, name) VALUES ($1, $2) RETURNING ${COLUMNS}`, [email, name]))
  return { contactId: rows[0]!.contactId }
}

/**
 * Updates a contact.
 * @throws ItemError 404, CONTACT_NOT_FOUND, or 409, EMAIL_TAKEN
 */
export async function updateContact (tx: Transaction, { contactId, email, name }: ContactChange): Promise<Contact> {
  const { rows } = await unlessTaken(tx.query<Contact>(
    `UPDATE contacts SET email = coalesce($2, email), name = coalesce($3, name) WHERE contact_id = $1 RETURNING ${COLUMNS}`,
    [contactId, email, name]
  ))
  return rows[0] ?? notFound()
}

/**
 * Deletes a contact.
 * @throws ItemError 404, CONTACT_NOT_FOUND
 */
export async function deleteContact (tx: Transaction, contactId: number): Promise<void> {
  const { affectedRows } = await tx.query('DELETE FROM contacts WHERE contact_id = $1', [contactId])
  if (affectedRows === 0) notFound()
}

export async function listContacts (db: PGlite, { after, limit }: { after: number, limit: number }): Promise<Contact[]> {
  const { rows } = await db.query<Contact>(`SELECT ${COLUMNS} FROM contacts WHERE contact_id > $1 ORDER BY contact_id LIMIT $2`, [after, limit])
  return rows
}

function notFound (): never {
  throw new ItemError('Contact not found', { code: 'CONTACT_NOT_FOUND', statusCode: 404 })
}

const UNIQUE_VIOLATION = '23505'

/** Lets the unique index find conflicts. A query before the insert would miss concurrent requests. */
async function unlessTaken<T> (query: Promise<T>): Promise<T> {
  try {
    return await query
  } catch (error) {
    if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error
    throw new ItemError('Email taken', { code: 'EMAIL_TAKEN', statusCode: 409, cause: error })
  }
}
