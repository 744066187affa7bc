/** What to call the holder of a certificate. */
import type { Extensions } from './extensions.ts'
import { ExtensionId } from './extensions.ts'
import { readable } from './certificate.ts'
import { sequenceOf } from './der.ts'
import {
  asciiOf,
  attributeOf,
  AttributeType,
  escaped,
  generalName,
  type Name,
  NameType,
  valueInName,
} from './name.ts'

/**
 * The best name that a certificate has for its holder, `escaped`: the common name, else given name and surname, a
 * pseudonym, an e-mail address (of the subject or of subjectAltName), the organization, else whatever the subject holds.
 * Certificates for mail may have no common name, and no subject at all. Empty if there is nothing.
 */
export function holderOf({
  subject,
  extensions,
}: {
  readonly subject: Name | undefined
  readonly extensions: Extensions | undefined
}): string {
  const of = (type: string): string => (subject && attributeOf(subject, type)) ?? ''
  const candidates = [
    of(AttributeType.commonName),
    `${of(AttributeType.givenName)} ${of(AttributeType.surname)}`.trim(),
    of(AttributeType.pseudonym),
    of(AttributeType.emailAddress),
    mailboxIn(extensions?.get(ExtensionId.subjectAlternativeName)?.value),
    of(AttributeType.organization),
    subject?.attributes.map(valueInName).join(', '),
  ]
  return candidates.find((each) => each !== undefined && each !== '') ?? ''
}

function mailboxIn(alternatives: Uint8Array | undefined): string {
  if (alternatives === undefined) return ''
  return readable(() => {
    const names = sequenceOf(alternatives).map(generalName)
    const mailbox = names.find(({ type }) => type === NameType.rfc822Name)
    return mailbox === undefined ? '' : escaped(asciiOf(mailbox.value) ?? '')
  }, '')
}
