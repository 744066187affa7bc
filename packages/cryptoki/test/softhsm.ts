/** SoftHSM through pkcs11js, driven call by call like a C caller. */
import { createCipheriv } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pkcs11 from 'pkcs11js'

export const library = '/usr/lib/softhsm/libsofthsm2.so'
const pin = '123456'

export type Kind =
  | 'search'
  | 'encrypt'
  | 'decrypt'
  | 'digest'
  | 'sign'
  | 'sign-recover'
  | 'verify'
  | 'verify-recover'
export type Call = 'init' | 'single' | 'update' | 'final' | 'small single' | 'small final'

/** The return value of a call (CKR_*) and its output. */
export interface CallResult {
  readonly code: string
  readonly output?: Uint8Array | undefined
}

/** A session driven by C's calls. */
export interface CallSession {
  call(kind: Kind, call: Call): Promise<CallResult>
  close(): Promise<void>
}

/** The inputs that both libraries get. */
export interface Material {
  readonly key: Uint8Array
  readonly iv: Uint8Array
  readonly data: Uint8Array
}

export function encrypted({ key, iv, data }: Material): Uint8Array {
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  return Buffer.concat([cipher.update(data), cipher.final()])
}

export class SoftHsm {
  readonly #folder = mkdtempSync(join(tmpdir(), 'webtoki-softhsm-'))
  readonly #module = new pkcs11.PKCS11()
  readonly #slot: pkcs11.Handle
  readonly #login: pkcs11.Handle
  readonly #material: Material
  readonly #aes: pkcs11.Handle
  readonly #rsa: pkcs11.KeyPair
  readonly #signature: Buffer

  constructor(material: Material) {
    this.#material = material
    const tokens = join(this.#folder, 'tokens')
    mkdirSync(tokens)
    const configuration = join(this.#folder, 'softhsm2.conf')
    writeFileSync(
      configuration,
      `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    )
    process.env['SOFTHSM2_CONF'] = configuration
    const module = this.#module
    module.load(library)
    module.C_Initialize()
    const [empty] = module.C_GetSlotList(true)
    if (empty === undefined) throw new Error('SoftHSM has no slot.')
    module.C_InitToken(empty, '12345678', 'judge')
    this.#slot = empty
    this.#login = this.#open()
    module.C_Login(this.#login, pkcs11.CKU_SO, '12345678')
    module.C_InitPIN(this.#login, pin)
    module.C_Logout(this.#login)
    module.C_Login(this.#login, pkcs11.CKU_USER, pin)
    this.#aes = module.C_CreateObject(this.#login, [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
      { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
      { type: pkcs11.CKA_VALUE, value: Buffer.from(material.key) },
      { type: pkcs11.CKA_TOKEN, value: false },
      { type: pkcs11.CKA_ENCRYPT, value: true },
      { type: pkcs11.CKA_DECRYPT, value: true },
    ])
    this.#rsa = module.C_GenerateKeyPair(
      this.#login,
      { mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN },
      [
        { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
        { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
        { type: pkcs11.CKA_VERIFY, value: true },
      ],
      [{ type: pkcs11.CKA_SIGN, value: true }],
    )
    module.C_SignInit(this.#login, { mechanism: pkcs11.CKM_SHA256_RSA_PKCS }, this.#rsa.privateKey)
    this.#signature = module.C_Sign(this.#login, Buffer.from(material.data), Buffer.alloc(256))
  }

  #open(): pkcs11.Handle {
    return this.#module.C_OpenSession(this.#slot, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
  }

  session(): CallSession {
    const session = this.#open()
    return {
      call: async (kind, call) => {
        try {
          const result = this.#call(session, kind, call)
          return { code: 'CKR_OK', output: result instanceof Uint8Array ? result : undefined }
        } catch (error) {
          // Some calls of pkcs11js throw an Error with the code in its message only.
          const [code = String(error)] = /CKR_\w+/.exec(String(error)) ?? []
          return { code }
        }
      },
      close: async () => this.#module.C_CloseSession(session),
    }
  }

  #call(session: pkcs11.Handle, kind: Kind, call: Call): unknown {
    const module = this.#module
    const data = Buffer.from(this.#material.data)
    const cbc = { mechanism: pkcs11.CKM_AES_CBC_PAD, parameter: Buffer.from(this.#material.iv) }
    const rsa = { mechanism: pkcs11.CKM_SHA256_RSA_PKCS }
    const output = call.startsWith('small') ? Buffer.alloc(1) : Buffer.alloc(1024)
    const name = call.replace('small ', '')
    const given = kind === 'decrypt' ? Buffer.from(encrypted(this.#material)) : data
    switch (`${kind} ${name}`) {
      case 'search init':
        return module.C_FindObjectsInit(session, [])
      case 'search update':
        return module.C_FindObjects(session, 1)
      case 'search final':
        return module.C_FindObjectsFinal(session)
      case 'encrypt init':
        return module.C_EncryptInit(session, cbc, this.#aes)
      case 'encrypt single':
        return module.C_Encrypt(session, given, output)
      case 'encrypt update':
        return module.C_EncryptUpdate(session, given, output)
      case 'encrypt final':
        return module.C_EncryptFinal(session, output)
      case 'decrypt init':
        return module.C_DecryptInit(session, cbc, this.#aes)
      case 'decrypt single':
        return module.C_Decrypt(session, given, output)
      case 'decrypt update':
        return module.C_DecryptUpdate(session, given, output)
      case 'decrypt final':
        return module.C_DecryptFinal(session, output)
      case 'digest init':
        return module.C_DigestInit(session, { mechanism: pkcs11.CKM_SHA256 })
      case 'digest single':
        return module.C_Digest(session, given, output)
      case 'digest update':
        return module.C_DigestUpdate(session, given)
      case 'digest final':
        return module.C_DigestFinal(session, output)
      case 'sign init':
        return module.C_SignInit(session, rsa, this.#rsa.privateKey)
      case 'sign single':
        return module.C_Sign(session, given, output)
      case 'sign update':
        return module.C_SignUpdate(session, given)
      case 'sign final':
        return module.C_SignFinal(session, output)
      case 'sign-recover init':
        return module.C_SignRecoverInit(session, { mechanism: pkcs11.CKM_RSA_PKCS }, this.#rsa.privateKey)
      case 'verify init':
        return module.C_VerifyInit(session, rsa, this.#rsa.publicKey)
      case 'verify single':
        return module.C_Verify(session, given, this.#signature)
      case 'verify update':
        return module.C_VerifyUpdate(session, given)
      case 'verify final':
        return module.C_VerifyFinal(session, this.#signature)
      case 'verify-recover init':
        return module.C_VerifyRecoverInit(session, { mechanism: pkcs11.CKM_RSA_PKCS }, this.#rsa.publicKey)
      default:
        throw new Error(`${kind} does not have a call ${name}.`)
    }
  }

  close(): void {
    this.#module.C_Finalize()
    this.#module.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
