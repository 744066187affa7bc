/** The OpenPGP card application's commands (3.4, clause 7.2), over the channel of a transaction. */
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

/** What the applet is given. */
export interface OpenPgpAppletOptions {
  /** For cards that want PINs in derived form. */
  readonly hashes: PinHashes
}

/** More than any object; the exchange asks for what the channel can take of it. */
const ALL_BYTES = 65536
const MIN_PIN_BYTES = 6
/** Control reference templates (7.2.14). */
const keyTemplates = { signature: 0xb6, decryption: 0xb8, authentication: 0xa4 } as const
/** Which occurrence of 7F21 is whose (4.4.3.3). */
const occurrences = { authentication: 0, decryption: 1, signature: 2 } as const
/** COMPUTE DIGITAL SIGNATURE (7.2.10) and INTERNAL AUTHENTICATE (7.2.13). */
const signing = {
  signature: { name: 'PSO: COMPUTE DIGITAL SIGNATURE', ins: 0x2a, p1: 0x9e, p2: 0x9a },
  authentication: { name: 'INTERNAL AUTHENTICATE', ins: 0x88, p1: 0, p2: 0 },
} as const

/** PW1: text of six bytes and more (4.3.1), sent as it is or derived (4.3.2). */
class PasswordFormat implements PinFormat {
  readonly minBytes: number = MIN_PIN_BYTES
  readonly alphabet = 'text'
  maxBytes = MIN_PIN_BYTES
  /** undefined: the card was not asked yet. */
  kdf: Kdf | 'none' | undefined
  readonly #hashes: PinHashes

  constructor(hashes: PinHashes) {
    this.#hashes = hashes
  }

  async encode(pin: Uint8Array): Promise<Uint8Array> {
    if (this.kdf === undefined) throw new MalformedError('KDF object', 'not read; no PIN was sent')
    return this.kdf === 'none' ? concatBytes(pin) : derivePin(this.kdf, pin, this.#hashes)
  }

  /** A reader derives nothing. */
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

/** One card's OpenPGP application, for as long as its connection lives. */
export class OpenPgpApplet extends CardApplication {
  /** PW1 with reference 81: for signatures. */
  readonly signaturePin: PinReference
  /** PW1 with reference 82: for all else. It has the same attempts. */
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
   * Selects OpenPGP and reads 6E: two APDUs, one more if the answer is long, and one more at a reader with keys. undefined:
   * the card does not have it.
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
    // Whether a PIN can be typed on the reader is asked before anything is prepared. What cannot be read is told at the login.
    if (this.connection.hasPinPad) await ifSound(this.#readKdf(channel, options))
    return true
  }

  /** As it was when the applet was opened. */
  get data(): OpenPgpApplicationData {
    if (this.#data === undefined) throw new Error('The applet was not opened.')
    return this.#data
  }

  /** The AID, which has the serial number, in hex. */
  override async fingerprint(channel: CardChannel, options?: TransmitOptions): Promise<string | undefined> {
    const aid = await ifSound(this.#readObject(channel, 0x4f, options))
    return aid && toHex(aid)
  }

  /** Attempts left for PW1, as the PW status (C4) tells; undefined: it does not. */
  async readPinTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    return (await ifSound(this.#readObject(channel, 0xc4, options)))?.[4]
  }

  /** The public key; undefined: the card has none for that use. */
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

  /** A cardholder certificate (7F21), as it was written; undefined: the card has none for that use. */
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
    // Cards before version 3 have one certificate, the one for authentication, and not this command.
    if (sw !== SW.OK && use !== 'authentication') return undefined
    const response = await this.#getData(channel, 0x7f21, options)
    if (isAbsent(response)) return undefined
    const certificate = expectOk(response, 'GET DATA')
    return certificate.length === 0 ? undefined : certificate
  }

  /**
   * Signs: an RSA key a DigestInfo, of which the card makes a PKCS#1 v1.5 signature; an ECDSA key a digest, answered as
   * r‖s. `answerBytes` is the signature's length.
   */
  async sign(
    channel: CardChannel,
    use: 'signature' | 'authentication',
    input: Uint8Array,
    answerBytes: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const command = { ...signing[use], cla: 0, data: input, responseBytes: Math.max(256, answerBytes) }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }

  /**
   * PSO: DECIPHER (7.2.11) by the decryption key: an RSA cryptogram, answered as the message without its PKCS#1 v1.5 padding, or
   * the other party's point on the key's curve (04, x, y), answered as the shared secret. `answerBytes` is the most that comes.
   */
  async decipher(
    channel: CardChannel,
    input: { readonly cryptogram: Uint8Array } | { readonly point: Uint8Array },
    answerBytes: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const data =
      'point' in input
        ? encodeTlv(0xa6, encodeTlv(0x7f49, encodeTlv(0x86, input.point)))
        : concatBytes([0x00], input.cryptogram)
    const responseBytes = Math.max(256, answerBytes)
    const command = { name: 'PSO: DECIPHER', cla: 0, ins: 0x2a, p1: 0x80, p2: 0x86, data, responseBytes }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }

  async #readKdf(channel: CardChannel, options?: TransmitOptions): Promise<void> {
    // Both references have one password, and one salt.
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
    // An object of few bytes leaves no reason for an extended APDU.
    const responseBytes = tag === 0x6e || tag === 0x7f21 ? ALL_BYTES : 256
    return this.exchange(channel, { name: 'GET DATA', cla: 0, ins: 0xca, p1, p2, responseBytes }, options)
  }
}

/** Absent objects and keys answer 6A88, on some cards 6A82. */
function isAbsent({ sw }: ResponseApdu): boolean {
  return sw === SW.REFERENCED_DATA_NOT_FOUND || sw === SW.NOT_FOUND
}

/** undefined: the card refused it, or answered what cannot be read. */
async function ifSound<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (error instanceof StatusError || error instanceof MalformedError) return undefined
    throw error
  }
}
