/** The display name of a certificate's holder (RFC 5280, 4.1.2.6 and 4.2.1.6). */
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
 * Returns the best name for the holder, passed through `escaped`: the first of common name, given name and surname,
 * pseudonym, e-mail address of the subject, e-mail address of subjectAltName, organization, and all attributes of the
 * subject. Mail certificates may have no common name or an empty subject. Returns an empty string if there is no name.
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
