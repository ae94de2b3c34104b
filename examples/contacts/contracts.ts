// What a contact is, and the words in which each of the three bulk routes says what became of one.
import { Type, type Static } from '@sinclair/typebox'
import { defineContract } from '../../lib/index.js'

const ContactId = Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1, examples: [1, 2] })
const Email = Type.String({ format: 'email', maxLength: 254, examples: ['ada@example.org', 'bob@example.org'] })
/** PostgreSQL can keep any character but NUL. */
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\u0000]*$', examples: ['Ada'] })

export const NewContact = Type.Object({ email: Email, name: Name })
export type NewContact = Static<typeof NewContact>

/** A contact that is there already; what is not given stays as it is. */
export const ContactChange = Type.Object({ contactId: ContactId, email: Type.Optional(Email), name: Type.Optional(Name) }, { minProperties: 2 })
export type ContactChange = Static<typeof ContactChange>

export const ContactKey = ContactId

export const Contact = Type.Object({ contactId: ContactId, email: Email, name: Name })
export type Contact = Static<typeof Contact>

/** A new contact has no number yet, so that its email tells which item a result is for. */
export const created = defineContract({
  name: 'Contact', key: 'email', keyType: Type.String({ examples: ['ada@example.org', 'bob@example.org'] }), success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ contactId: ContactId })
})

export const updated = defineContract({
  name: 'ContactChange', key: 'contactId', keyType: ContactId, success: 'updated', failure: 'rejected', reason: 'message', data: NewContact
})

export const deleted = defineContract({
  name: 'ContactRemoval', key: 'contactId', keyType: ContactId, success: 'deleted', failure: 'rejected', reason: 'message'
})
