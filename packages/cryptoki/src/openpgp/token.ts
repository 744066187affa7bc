/** An OpenPGP card behind the token port: one token for each use of PW1, as OpenSC shows it. */
import { type CardConnection, type PinReference, sealed, toHex, type TransmitOptions } from '@webtoki/apdu'
import { OpenPgpApplet, type OpenPgpPublicKey } from '@webtoki/apdu/openpgp'
import type { Attributes } from '../attributes.ts'
import { certificateAttributes } from '../certificate-attributes.ts'
import { CKA, CKF, CKO } from '../constants.ts'
import type { KeyPurpose, KeyUse } from '../key-use.ts'
import type { Mechanism, MechanismInfo } from '../mechanisms.ts'
import { publicKey } from '../software/public-key.ts'
import type { Token, TokenDescription, TokenObject } from '../token.ts'
import { fixedAttributes, withDefaults } from '../token-attributes.ts'
import { mechanismsFor, OpenPgpKeyAccess, openPgpKey, type SigningUse } from './key.ts'
import { keyBitsOf, publicKeyAttributes } from './public-key.ts'

/** Of the makers whose cards are common; the list is GnuPG's (`app_openpgp_manufacturer`). */
const manufacturers: Readonly<Record<number, string>> = {
  0x0005: 'ZeitControl',
  0x0006: 'Yubico',
  0x000f: 'Nitrokey',
  0xf517: 'FSIJ',
}

/** CKA_ID as OpenSC gives it. */
const ids: Readonly<Record<SigningUse, number>> = { signature: 1, authentication: 3 }
const kinds: Readonly<Record<number, string>> = {
  [CKO.CERTIFICATE]: 'certificate',
  [CKO.PUBLIC_KEY]: 'public-key',
  [CKO.PRIVATE_KEY]: 'private-key',
}
const names: Readonly<Record<SigningUse, string>> = {
  signature: 'Signature',
  authentication: 'Authentication',
}

/** SELECT and 6E; no token if the card does not have the application. */
export async function openTokens(connection: CardConnection): Promise<readonly Token[]> {
  const applet = await OpenPgpApplet.open(connection, {
    hashes: async (name) => {
      const { sha256, sha512 } = await import('@noble/hashes/sha2.js')
      return name === 'SHA-256' ? sha256.create() : sha512.create()
    },
  })
  if (applet === undefined) return []
  return [
    new OpenPgpToken(applet, 'signature', applet.signaturePin),
    new OpenPgpToken(applet, 'authentication', applet.pin),
  ]
}

/** One key and the PIN that it wants. */
export class OpenPgpToken implements Token {
  readonly name: string
  readonly label: string
  readonly flags: number = CKF.WRITE_PROTECTED
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  readonly pins: Token['pins']
  readonly #applet: OpenPgpApplet
  readonly #use: SigningUse
  readonly #objects: readonly TokenObject[]
  #key: { readonly read: OpenPgpPublicKey | undefined } | undefined

  constructor(applet: OpenPgpApplet, use: SigningUse, pin: PinReference) {
    this.#applet = applet
    this.#use = use
    this.name = `OpenPGP (${use})`
    this.label = this.name
    this.pins = { user: pin }
    const { algorithm } = applet.data.keys[use]
    const keyBits = keyBitsOf(algorithm)
    const signs = algorithm.type !== 'other' && keyBits !== undefined
    this.mechanisms = signs ? mechanismsFor(algorithm.type, keyBits) : new Map()
    this.#objects = Object.freeze([this.#certificate(), this.#publicKey(), this.#privateKey()])
  }

  /** 6E told all but the attempts. */
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

  /** CKA_UNIQUE_ID: the card's AID, which no other card has, and the object's place on it. */
  #common(objectClass: CKO, label: string): Attributes {
    const place = `${toHex(this.#applet.data.aid)}-${this.#use}-${kinds[objectClass]}`
    return sealed({
      ...fixedAttributes(objectClass, place),
      [CKA.PRIVATE]: objectClass === CKO.PRIVATE_KEY,
      [CKA.ID]: Uint8Array.of(ids[this.#use]),
      [CKA.LABEL]: label,
    })
  }

  #certificate(): TokenObject {
    const known = this.#common(CKO.CERTIFICATE, `Cardholder certificate (${this.#use})`)
    const load = remembered(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const read = (channel: Parameters<OpenPgpApplet['readCertificate']>[0]) =>
        this.#applet.readCertificate(channel, this.#use, options)
      const der = await this.#applet.transaction(read, options)
      return der && sealed({ ...known, ...certificateAttributes(der) })
    })
    return Object.freeze({ known, load })
  }

  #publicKey(): TokenObject {
    const known = this.#common(CKO.PUBLIC_KEY, `${names[this.#use]} key`)
    let loaded = known
    const load = remembered(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const key = await this.#readKey(options)
      if (key === undefined) return undefined
      const attributes = {
        ...known,
        ...key,
        [CKA.VERIFY]: true,
      }
      loaded = sealed(withDefaults(attributes, this.mechanisms))
      return loaded
    })
    const use = (purpose: KeyPurpose, mechanism: Mechanism): KeyUse =>
      publicKey(loaded).use(purpose, mechanism)
    return Object.freeze({ known, load, use })
  }

  #privateKey(): TokenObject {
    const known = this.#common(CKO.PRIVATE_KEY, `${names[this.#use]} key`)
    const access = new OpenPgpKeyAccess(this.#applet, this.#use)
    let loaded = known
    const load = remembered(async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      const key = await this.#readKey(options)
      if (key === undefined) return undefined
      const attributes = {
        ...known,
        ...key,
        [CKA.ALWAYS_AUTHENTICATE]: access.needs === 'context-pin',
        [CKA.SIGN]: true,
        [CKA.SENSITIVE]: true,
        [CKA.ALWAYS_SENSITIVE]: true,
        [CKA.EXTRACTABLE]: false,
        [CKA.NEVER_EXTRACTABLE]: true,
      }
      loaded = sealed(withDefaults(attributes, this.mechanisms))
      return loaded
    })
    const use = (purpose: KeyPurpose, mechanism: Mechanism): KeyUse =>
      openPgpKey(access, this.#use, loaded).use(purpose, mechanism)
    return Object.freeze({ known, load, access, use })
  }

  /** The card is asked once; undefined: it has no key, or one that nothing here can use. */
  async #readKey(options?: TransmitOptions): Promise<Attributes | undefined> {
    const { algorithm } = this.#applet.data.keys[this.#use]
    if (keyBitsOf(algorithm) === undefined) return undefined
    this.#key ??= await this.#applet.transaction(
      async (channel) => ({ read: await this.#applet.readPublicKey(channel, this.#use, options) }),
      options,
    )
    return this.#key.read && publicKeyAttributes(algorithm, this.#key.read)
  }
}

/** Answers from memory once the card has answered. */
function remembered(
  load: (options?: TransmitOptions) => Promise<Attributes | undefined>,
): TokenObject['load'] {
  let known: { readonly attributes: Attributes | undefined } | undefined
  return async (options) => {
    known ??= { attributes: await load(options) }
    return known.attributes
  }
}
