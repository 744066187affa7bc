/** Formats a distinguished name as text: RFC 4514. */
import { type Name, valueInName } from '@webtoki/crypto'

/** Labels of attribute types (RFC 4514, 3; RFC 5280, 4.1.2.4; RFC 3739, 3.1.1). Others appear as object identifiers. */
const labels: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'GN',
  '2.5.4.65': 'pseudonym',
  '2.5.4.97': 'organizationIdentifier',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
}

/** Returns all attributes in the order of the name, with RFC 4514 escaping: `C=EE, O=Example\, Inc., CN=Ada`. */
export function wholeName({ attributes }: Name): string {
  return attributes.map((each) => `${labels[each.type] ?? each.type}=${valueInName(each)}`).join(', ')
}
