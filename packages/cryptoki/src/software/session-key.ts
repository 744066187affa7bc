/** Session objects that C_CreateObject makes: secret keys in this page's memory (PKCS#11 v2.40, 4.9 and mechanisms 2.8.1). */
import { sealed } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKO, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { TokenObject } from '../token.ts'
import { aesKey } from './aes.ts'

/** The key of a template. Its value is not among the attributes. Throws CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID. */
export function sessionKey(template: Attributes): {
  readonly source: TokenObject
  readonly attributes: Attributes
} {
  const { [CKA.VALUE]: value, ...rest } = template
  const isAes = template[CKA.CLASS] === CKO.SECRET_KEY && template[CKA.KEY_TYPE] === CKK.AES
  if (value === undefined || template[CKA.CLASS] === undefined || template[CKA.KEY_TYPE] === undefined)
    throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  if (!isAes || template[CKA.TOKEN] === true) throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  if (![16, 24, 32].includes(value.length)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  const key = aesKey(value)
  const attributes = sealed({
    [CKA.PRIVATE]: false,
    [CKA.ENCRYPT]: false,
    [CKA.DECRYPT]: false,
    ...rest,
    [CKA.TOKEN]: false,
    [CKA.VALUE_LEN]: value.length,
    [CKA.SENSITIVE]: true,
    [CKA.EXTRACTABLE]: false,
    [CKA.LOCAL]: false,
  })
  return {
    source: {
      known: attributes,
      load: async () => attributes,
      use: (purpose, mechanism) => key.use(purpose, mechanism),
      destroy: () => key.destroy(),
    },
    attributes,
  }
}
