/** The tokens of an OpenPGP card (OpenPGP card 3.4): one for each reference of PW1, as OpenSC presents them. */
import {
  type CardChannel,
  type CardConnection,
  type PinReference,
  sealed,
  toHex,
  type TransmitOptions,
} from '@webtoki/apdu'
import { OpenPgpApplet, type OpenPgpKeyUse, type OpenPgpPublicKey } from '@webtoki/apdu/openpgp'
import type { Attributes } from '../attributes.ts'
import { certificateAttributes } from '../certificate-attributes.ts'
import { CKF } from '../ckf.ts'
import { CKA, CKK, CKO } from '../constants.ts'
import type { KeyPurpose, KeyUse } from '../key-use.ts'
import type { Mechanism, MechanismInfo } from '../mechanisms.ts'
import type { Token, TokenDescription, TokenObject } from '../token.ts'
import { fixedAttributes, withDefaults } from '../token-attributes.ts'
import { decipherMechanisms, OpenPgpKeyAccess, openPgpKey, signMechanismsFor } from './key.ts'
import { keyBitsOf, publicKeyAttributes } from './public-key.ts'

/**
 * The manufacturers of common cards, from the list of GnuPG (`app_openpgp_manufacturer`).
 * https://git.gnupg.org/cgi-bin/gitweb.cgi?p=gnupg.git;a=blob;f=scd/app-openpgp.c;hb=refs/tags/gnupg-2.4.9#l292
 */
const manufacturers: Readonly<Record<number, string>> = {
  0x0005: 'ZeitControl',
  0x0006: 'Yubico',
  0x000f: 'Nitrokey',
  0xf517: 'FSIJ',
}

/**
 * CKA_ID, with the values that OpenSC uses.
 * https://github.com/OpenSC/OpenSC/blob/0.27.1/src/libopensc/pkcs15-openpgp.c#L323
 */
const keyIds: Readonly<Record<OpenPgpKeyUse, number>> = { signature: 1, decryption: 2, authentication: 3 }
const classNames: Readonly<Record<number, string>> = {
  [CKO.CERTIFICATE]: 'certificate',
  [CKO.PUBLIC_KEY]: 'public-key',
  [CKO.PRIVATE_KEY]: 'private-key',
}
const keyNames: Readonly<Record<OpenPgpKeyUse, string>> = {
  signature: 'Signature',
  decryption: 'Decryption',
  authentication: 'Authentication',
}

/** Selects the application and reads the application related data (6E). Returns no tokens if the card lacks the application. */
export async function openTokens(
  connection: CardConnection,
  rejectionSecret: () => Uint8Array,
): Promise<readonly Token[]> {
  const applet = await OpenPgpApplet.open(connection, {
    hashes: async (name) => {
      const { sha256, sha512 } = await import('@noble/hashes/sha2.js')
      return name === 'SHA-256' ? sha256.create() : sha512.create()
    },
  })
  if (applet === undefined) return []
  return [
    new OpenPgpToken(applet, ['signature'], applet.signaturePin, rejectionSecret),
    new OpenPgpToken(applet, ['authentication', 'decryption'], applet.pin, rejectionSecret),
  ]
}

/** The keys that require the same PIN reference. The token is named after the first one. */
export class OpenPgpToken implements Token {
  readonly name: string
  readonly label: string
  readonly flags: number = CKF.WRITE_PROTECTED
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  readonly pins: Token['pins']
  readonly #applet: OpenPgpApplet
  readonly #rejectionSecret: () => Uint8Array
  readonly #objects: readonly TokenObject[]
  readonly #keys = new Map<OpenPgpKeyUse, OpenPgpPublicKey | undefined>()

  constructor(
    applet: OpenPgpApplet,
    uses: readonly OpenPgpKeyUse[],
    pin: PinReference,
    rejectionSecret: () => Uint8Array,
  ) {
    this.#applet = applet
    this.#rejectionSecret = rejectionSecret
    this.name = `OpenPGP (${uses[0]})`
    this.label = this.name
    this.pins = { user: pin }
    this.mechanisms = mergeMechanisms(uses.map((use) => this.#mechanismsOf(use)))
    this.#objects = Object.freeze(
      uses.flatMap((use) => [this.#certificate(use), this.#publicKey(use), this.#privateKey(use)]),
    )
  }

  /** Returns the mechanisms of the key for `use`; none if its algorithm is not supported. */
  #mechanismsOf(use: OpenPgpKeyUse): ReadonlyMap<number, MechanismInfo> {
    const { algorithm } = this.#applet.data.keys[use]
    const keyBits = keyBitsOf(algorithm)
    if (algorithm.type === 'other' || keyBits === undefined) return new Map()
    return (use === 'decryption' ? decipherMechanisms : signMechanismsFor)(algorithm.type, keyBits)
  }

  /** Only the attempts left have to be read: the application related data contained the rest. */
  async describe({
    mayRead,
    ...options
  }: TransmitOptions & { readonly mayRead: boolean }): Promise<TokenDescription> {
    const { user } = this.pins
    if (mayRead) await this.#applet.transaction((channel) => user.learnTries(channel, options), options)
    const { version, manufacturer, serialNumber } = this.#applet.data
    const number = manufacturer.toString(16).padStart(4, '0')
    return {
      label: this.label,
      manufacturer: manufacturers[manufacturer] ?? `manufacturer ${number}`,
      model: `OpenPGP ${version}`,
      serialNumber: number + serialNumber,
    }
  }

  objects(): readonly TokenObject[] {
    return this.#objects
  }

  /** CKA_UNIQUE_ID consists of the AID, which is unique to the card, and the key and class of the object. */
  #common(use: OpenPgpKeyUse, objectClass: CKO, label: string): Attributes {
    const uniqueId = `${toHex(this.#applet.data.aid)}-${use}-${classNames[objectClass]}`
    return sealed({
      ...fixedAttributes(objectClass, uniqueId),
      [CKA.PRIVATE]: objectClass === CKO.PRIVATE_KEY,
      [CKA.ID]: Uint8Array.of(keyIds[use]),
      [CKA.LABEL]: label,
    })
  }

  #certificate(use: OpenPgpKeyUse): TokenObject {
    const known = this.#common(use, CKO.CERTIFICATE, `Cardholder certificate (${use})`)
    const load = memoized(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const read = (channel: CardChannel) => this.#applet.readCertificate(channel, use, options)
      const der = await this.#applet.transaction(read, options)
      return der && sealed({ ...known, ...certificateAttributes(der) })
    })
    return Object.freeze({ known, load })
  }

  #publicKey(use: OpenPgpKeyUse): TokenObject {
    const known = this.#common(use, CKO.PUBLIC_KEY, `${keyNames[use]} key`)
    let loaded = known
    const load = memoized(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const key = await this.#readKey(use, options)
      if (key === undefined) return undefined
      const attributes = {
        ...known,
        ...key,
        [CKA.VERIFY]: use !== 'decryption',
        [CKA.ENCRYPT]: use === 'decryption' && isRsa(key),
        [CKA.WRAP]: use === 'decryption' && isRsa(key),
      }
      loaded = sealed(withDefaults(attributes, this.#mechanismsOf(use)))
      return loaded
    })
    return Object.freeze({ known, load })
  }

  #privateKey(use: OpenPgpKeyUse): TokenObject {
    const known = this.#common(use, CKO.PRIVATE_KEY, `${keyNames[use]} key`)
    const access = new OpenPgpKeyAccess(this.#applet, use)
    let loaded = known
    const load = memoized(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const key = await this.#readKey(use, options)
      if (key === undefined) return undefined
      const attributes = {
        ...known,
        ...key,
        [CKA.ALWAYS_AUTHENTICATE]: access.needs === 'context-pin',
        [CKA.SIGN]: use !== 'decryption',
        [CKA.DECRYPT]: use === 'decryption' && isRsa(key),
        [CKA.UNWRAP]: use === 'decryption' && isRsa(key),
        [CKA.DERIVE]: use === 'decryption' && !isRsa(key),
        [CKA.SENSITIVE]: true,
        [CKA.ALWAYS_SENSITIVE]: true,
        [CKA.EXTRACTABLE]: false,
        [CKA.NEVER_EXTRACTABLE]: true,
      }
      loaded = sealed(withDefaults(attributes, this.#mechanismsOf(use)))
      return loaded
    })
    const useKey = (purpose: KeyPurpose, mechanism: Mechanism): KeyUse =>
      openPgpKey(access, use, loaded, this.#rejectionSecret).use(purpose, mechanism)
    return Object.freeze({ known, load, access, use: useKey })
  }

  /** Reads the public key once. Returns undefined if the card has no such key or its algorithm is not supported. */
  async #readKey(use: OpenPgpKeyUse, options?: TransmitOptions): Promise<Attributes | undefined> {
    const { algorithm } = this.#applet.data.keys[use]
    if (keyBitsOf(algorithm) === undefined) return undefined
    if (!this.#keys.has(use)) {
      const read = (channel: CardChannel) => this.#applet.readPublicKey(channel, use, options)
      this.#keys.set(use, await this.#applet.transaction(read, options))
    }
    const key = this.#keys.get(use)
    return key && publicKeyAttributes(algorithm, key)
  }
}

/** Merges the mechanisms of several keys. */
function mergeMechanisms(
  ofKeys: readonly ReadonlyMap<number, MechanismInfo>[],
): ReadonlyMap<number, MechanismInfo> {
  const all = new Map<number, MechanismInfo>()
  for (const [type, info] of ofKeys.flatMap((each) => [...each])) {
    const { minKeyBits, maxKeyBits, flags } = all.get(type) ?? info
    all.set(type, {
      minKeyBits: Math.min(minKeyBits, info.minKeyBits),
      maxKeyBits: Math.max(maxKeyBits, info.maxKeyBits),
      flags: flags | info.flags,
    })
  }
  return all
}

function isRsa(key: Attributes): boolean {
  return key[CKA.KEY_TYPE] === CKK.RSA
}

/** Stores the first result. After an error, the next call reads from the card again. */
function memoized(load: (options?: TransmitOptions) => Promise<Attributes | undefined>): TokenObject['load'] {
  let known: { readonly attributes: Attributes | undefined } | undefined
  return async (options) => {
    known ??= { attributes: await load(options) }
    return known.attributes
  }
}
