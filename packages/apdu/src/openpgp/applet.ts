/** The commands of the OpenPGP card application, version 3.4, clause 7.2. */
import { concatBytes, toHex } from '../bytes.ts'
import { CardApplication } from '../card-application.ts'
import type { ResponseApdu } from '../command.ts'
import { MalformedError, StatusError } from '../errors.ts'
import { expectOk } from '../exchange.ts'
import type { PinFormat } from '../pin-format.ts'
import { PinReference } from '../pin-reference.ts'
import type { CardChannel, CardConnection, PinTemplate, TransmitOptions } from '../ports.ts'
import { isNotExecuted, SW } from '../status-words.ts'
import { encodeTlv } from '../tlv.ts'
import {
  decodeApplicationData,
  type OpenPgpApplicationData,
  type OpenPgpKeyUse,
  openPgpAid,
} from './application-data.ts'
import { decodeKdf, derivePin, type Kdf, type PinHashes } from './kdf.ts'
import { decodePublicKey, type OpenPgpPublicKey } from './public-key.ts'

/** Options of `OpenPgpApplet.open`. */
export interface OpenPgpAppletOptions {
  /** Hashes for cards that require derived PINs. */
  readonly hashes: PinHashes
}

/** Ne for data of any length; `exchange` reduces it to what the channel supports. */
const ALL_BYTES = 65536
const MIN_PIN_BYTES = 6
/** Control reference templates (7.2.14). */
const keyTemplates = { signature: 0xb6, decryption: 0xb8, authentication: 0xa4 } as const
/** The occurrence of 7F21 that belongs to each key (4.4.3.3). */
const occurrences = { authentication: 0, decryption: 1, signature: 2 } as const
/** COMPUTE DIGITAL SIGNATURE (7.2.10) and INTERNAL AUTHENTICATE (7.2.13). */
const signing = {
  signature: { name: 'PSO: COMPUTE DIGITAL SIGNATURE', ins: 0x2a, p1: 0x9e, p2: 0x9a },
  authentication: { name: 'INTERNAL AUTHENTICATE', ins: 0x88, p1: 0, p2: 0 },
} as const

/** Format of PW1: text of at least six bytes (4.3.1), sent in plain form or derived (4.3.2). */
class PasswordFormat implements PinFormat {
  readonly minBytes: number = MIN_PIN_BYTES
  readonly alphabet = 'text'
  maxBytes = MIN_PIN_BYTES
  /** Undefined until F9 was read. */
  kdf: Kdf | 'none' | undefined
  readonly #hashes: PinHashes

  constructor(hashes: PinHashes) {
    this.#hashes = hashes
  }

  async encode(pin: Uint8Array): Promise<Uint8Array> {
    if (this.kdf === undefined) throw new MalformedError('KDF object', 'not read yet; no PIN was sent')
    return this.kdf === 'none' ? concatBytes(pin) : derivePin(this.kdf, pin, this.#hashes)
  }

  /** Undefined if the card requires derived PINs, because a PIN pad cannot derive them. */
  get padTemplate(): PinFormat['padTemplate'] {
    if (this.kdf !== 'none') return undefined
    return (header): PinTemplate => ({
      command: concatBytes(header, [0]),
      pinOffset: 0,
      blockBytes: 0,
      format: 'ascii',
      minDigits: this.minBytes,
      maxDigits: this.maxBytes,
    })
  }
}

/**
 * The OpenPGP application of one card, for the lifetime of the connection. Methods that take a channel are called within a
 * transaction of the applet.
 */
export class OpenPgpApplet extends CardApplication {
  /** PW1 with reference 81: for the signature key. */
  readonly signaturePin: PinReference
  /** PW1 with reference 82: for all other keys. It has the same retry counter. */
  readonly pin: PinReference
  readonly #format: PasswordFormat
  #data: OpenPgpApplicationData | undefined

  private constructor(connection: CardConnection, { hashes }: OpenPgpAppletOptions) {
    super(connection, { name: 'OpenPGP', aid: openPgpAid })
    const format = new PasswordFormat(hashes)
    const common = {
      format,
      prepare: (channel: CardChannel, options?: TransmitOptions) => this.#readKdf(channel, options),
      readTries: (channel: CardChannel, options?: TransmitOptions) => this.readPinTries(channel, options),
    }
    this.#format = format
    this.signaturePin = new PinReference(this, { ...common, name: 'signature PIN', reference: () => 0x81 })
    this.pin = new PinReference(this, {
      ...common,
      name: 'PIN',
      reference: () => 0x82,
      sharesTriesWith: this.signaturePin,
    })
  }

  /**
   * Selects OpenPGP and reads 6E: two APDUs, one more if the response is long, and one more if the reader has a PIN pad.
   * Resolves to undefined if the card has no OpenPGP application. Rejects with MalformedError if 6E cannot be decoded.
   */
  static async open(
    connection: CardConnection,
    options: OpenPgpAppletOptions & TransmitOptions,
  ): Promise<OpenPgpApplet | undefined> {
    const applet = new OpenPgpApplet(connection, options)
    const work = (channel: CardChannel): Promise<boolean> => applet.#identify(channel, options)
    return (await connection.transaction(applet, work, options)) ? applet : undefined
  }

  async #identify(channel: CardChannel, options: TransmitOptions): Promise<boolean> {
    let bytes: Uint8Array
    try {
      await this.select(channel, options)
      bytes = await this.#readObject(channel, 0x6e, options)
    } catch (error) {
      if (error instanceof StatusError && !isNotExecuted(error.sw)) return false
      throw error
    }
    this.#data = decodeApplicationData(bytes)
    if (this.#data === undefined) return false
    this.#format.maxBytes = this.#data.maxPinBytes
    this.remember(toHex(this.#data.aid))
    // Callers check `padTemplate` before the PIN is prepared, so F9 is read here. If that fails, the login reports it.
    if (this.connection.hasPinPad) await undefinedIfRefused(this.#readKdf(channel, options))
    return true
  }

  /** Application related data, as read when the applet was opened. */
  get data(): OpenPgpApplicationData {
    if (this.#data === undefined) throw new Error('The applet was not opened.')
    return this.#data
  }

  /** Resolves to the AID in hex, which contains the serial number. */
  override async fingerprint(channel: CardChannel, options?: TransmitOptions): Promise<string | undefined> {
    const aid = await undefinedIfRefused(this.#readObject(channel, 0x4f, options))
    return aid && toHex(aid)
  }

  /** Reads the attempts left for PW1 from the PW status (C4). Resolves to undefined if the card does not report them. */
  async readPinTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    return (await undefinedIfRefused(this.#readObject(channel, 0xc4, options)))?.[4]
  }

  /** Reads a public key (7.2.14). Resolves to undefined if the card has no key for this use. */
  async readPublicKey(
    channel: CardChannel,
    use: OpenPgpKeyUse,
    options?: TransmitOptions,
  ): Promise<OpenPgpPublicKey | undefined> {
    const command = {
      name: 'READ PUBLIC KEY',
      cla: 0,
      ins: 0x47,
      p1: 0x81,
      p2: 0,
      data: Uint8Array.of(keyTemplates[use], 0),
      responseBytes: ALL_BYTES,
    }
    const response = await this.exchange(channel, command, options)
    return isAbsent(response) ? undefined : decodePublicKey(expectOk(response, command.name))
  }

  /** Reads a cardholder certificate (7F21) as it was written. Resolves to undefined if the card has none for this use. */
  async readCertificate(
    channel: CardChannel,
    use: OpenPgpKeyUse,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    const selectData = {
      name: 'SELECT DATA',
      cla: 0,
      ins: 0xa5,
      p1: occurrences[use],
      p2: 4,
      data: Uint8Array.of(0x60, 0x04, 0x5c, 0x02, 0x7f, 0x21),
    }
    const { sw } = await this.exchange(channel, selectData, options)
    // Cards before version 3 do not support SELECT DATA and have one certificate only, the one for authentication.
    if (sw !== SW.OK && use !== 'authentication') return undefined
    const response = await this.#getData(channel, 0x7f21, options)
    if (isAbsent(response)) return undefined
    const certificate = expectOk(response, 'GET DATA')
    return certificate.length === 0 ? undefined : certificate
  }

  /**
   * Signs with the signature key (7.2.10) or the authentication key (7.2.13). `input` is a DigestInfo for an RSA key, of
   * which the card makes a PKCS#1 v1.5 signature, and a digest for an ECDSA key. ECDSA signatures are r‖s. `signatureBytes`
   * is the length of the signature. Rejects with StatusError.
   */
  async sign(
    channel: CardChannel,
    use: 'signature' | 'authentication',
    input: Uint8Array,
    signatureBytes: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const command = { ...signing[use], cla: 0, data: input, responseBytes: Math.max(256, signatureBytes) }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }

  /**
   * Decrypts with the decryption key, PSO: DECIPHER (7.2.11). For an RSA cryptogram it resolves to the message without its
   * PKCS#1 v1.5 padding, for the other party's point on the key's curve (04, x, y) to the shared secret. `maxResultBytes` is
   * the longest possible result. Rejects with StatusError.
   */
  async decipher(
    channel: CardChannel,
    input: { readonly cryptogram: Uint8Array } | { readonly point: Uint8Array },
    maxResultBytes: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const data =
      'point' in input
        ? encodeTlv(0xa6, encodeTlv(0x7f49, encodeTlv(0x86, input.point)))
        : concatBytes([0x00], input.cryptogram)
    const responseBytes = Math.max(256, maxResultBytes)
    const command = { name: 'PSO: DECIPHER', cla: 0, ins: 0x2a, p1: 0x80, p2: 0x86, data, responseBytes }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }

  async #readKdf(channel: CardChannel, options?: TransmitOptions): Promise<void> {
    // Both references belong to the same password and salt.
    if (this.#format.kdf !== undefined) return
    if (!this.data.hasKdf) {
      this.#format.kdf = 'none'
      return
    }
    const response = await this.#getData(channel, 0xf9, options)
    this.#format.kdf = isAbsent(response) ? 'none' : decodeKdf(expectOk(response, 'GET DATA'))
  }

  async #readObject(channel: CardChannel, tag: number, options?: TransmitOptions): Promise<Uint8Array> {
    return expectOk(await this.#getData(channel, tag, options), 'GET DATA')
  }

  #getData(channel: CardChannel, tag: number, options?: TransmitOptions): Promise<ResponseApdu> {
    const [p1, p2] = [tag >> 8, tag & 0xff]
    // Short objects need no extended APDU.
    const responseBytes = tag === 0x6e || tag === 0x7f21 ? ALL_BYTES : 256
    return this.exchange(channel, { name: 'GET DATA', cla: 0, ins: 0xca, p1, p2, responseBytes }, options)
  }
}

/** Returns true for an absent object or key: 6A88, or 6A82 on some cards. */
function isAbsent({ sw }: ResponseApdu): boolean {
  return sw === SW.REFERENCED_DATA_NOT_FOUND || sw === SW.NOT_FOUND
}

/** Resolves to undefined if the card refuses or its response is malformed. */
async function undefinedIfRefused<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (error instanceof StatusError || error instanceof MalformedError) return undefined
    throw error
  }
}
