// The schemas of contacts, and the contracts of the three bulk routes.
import { Type, type Static } from '@sinclair/typebox'
import { defineContract } from '../../lib/index.js'

const ContactId = Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1, examples: [1, 2] })
const Email = Type.String({ format: 'email', maxLength: 254, examples: ['ada@example.org', 'bob@example.org'] })
/** Text without NUL, the only character that PostgreSQL cannot store. */
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\u0000]*$', examples: ['Ada'] })

export const NewContact = Type.Object({ email: Email, name: Name })
export type NewContact = Static<typeof NewContact>

/** Changes to an existing contact. Missing members stay unchanged. */
export const ContactChange = Type.Object({ contactId: ContactId, email: Type.Optional(Email), name: Type.Optional(Name) }, { minProperties: 2 })
export type ContactChange = Static<typeof ContactChange>

export const ContactKey = ContactId

export const Contact = Type.Object({ contactId: ContactId, email: Email, name: Name })
export type Contact = Static<typeof Contact>

/** The contract of creating contacts. The key is the email, because a new contact has no id yet. */
export const created = defineContract({
  name: 'Contact', key: 'email', keyType: Type.String({ examples: ['ada@example.org', 'bob@example.org'] }), success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ contactId: ContactId })
})

export const updated = defineContract({
  name: 'ContactChange', key: 'contactId', keyType: ContactId, success: 'updated', failure: 'rejected', reason: 'message', data: NewContact
})

export const deleted = defineContract({
  name: 'ContactRemoval', key: 'contactId', keyType: ContactId, success: 'deleted', failure: 'rejected', reason: 'message'
})
