/** The commands of the PIV card application, SP 800-73-4 part 2 clause 3. */
import { concatBytes, toHex } from '../bytes.ts'
import { CardApplication } from '../card-application.ts'
import type { ResponseApdu } from '../command.ts'
import { MalformedError, StatusError } from '../errors.ts'
import { expectOk, type NamedCommand } from '../exchange.ts'
import type { PinFormat } from '../pin-format.ts'
import { PinReference } from '../pin-reference.ts'
import type { CardChannel, CardConnection, TransmitOptions } from '../ports.ts'
import { isNotExecuted, SW } from '../status-words.ts'
import { encodeTlv, firstTlv } from '../tlv.ts'
import { isPivApplication } from './application.ts'
import { PivObject, PivReference, type PivSlot, pivAid } from './constants.ts'
import {
  decodeCertificate,
  decodeChuid,
  decodeDiscovery,
  type PivCertificate,
  type PivDiscovery,
} from './objects.ts'

/** Input for the dynamic authentication template: a challenge to sign or decrypt (81), or the other party's point (85). */
export interface AuthenticateInput {
  readonly tag: 0x81 | 0x85
  readonly value: Uint8Array
}

/** What a key requires before each use. Undefined if the card does not report it. */
export interface PivKeyPolicy {
  readonly pin: 'never' | 'once' | 'always' | undefined
  /** Whether each use requires a touch. Undefined also if one touch is valid for several uses. */
  readonly touch: boolean | undefined
}

/** Ne for data of any length; `exchange` reduces it to what the channel supports. */
const ALL_BYTES = 65536
/** Tags in the metadata: PIN and touch policy, one byte each; maximum attempts and attempts left, one byte each. */
const METADATA_POLICY = 0x02
const METADATA_TRIES = 0x06
/** Card issuer's data in the historical bytes of the YubiKey 5 series, including tag and length, in hex. */
const YUBIKEY = '57597562694b6579'
const PIN_BYTES = 8

/** SP 800-73-4 part 1, 4.3: six to eight digits, padded with FF. */
const pinFormat: PinFormat = {
  minBytes: 6,
  maxBytes: PIN_BYTES,
  alphabet: 'digits',
  encode: (pin) => pinBlock(pin),
  padTemplate: (header) => ({
    command: concatBytes(header, [PIN_BYTES], pinBlock([])),
    pinOffset: 0,
    blockBytes: PIN_BYTES,
    format: 'ascii',
    minDigits: 6,
    maxDigits: PIN_BYTES,
  }),
}

function pinBlock(pin: Uint8Array | readonly number[]): Uint8Array {
  const block = new Uint8Array(PIN_BYTES).fill(0xff)
  block.set(pin)
  return block
}

/**
 * The PIV application of one card, for the lifetime of the connection. Methods that take a channel are called within a
 * transaction of the applet.
 */
export class PivApplet extends CardApplication {
  /** The PIN that the discovery object names: the application PIN or the card's global PIN. */
  readonly pin: PinReference
  /**
   * True if the card may report the policies of its keys: its ATR is that of a YubiKey 5 and it has not refused GET
   * METADATA.
   */
  reportsKeyPolicies = false
  #pinReference: number = PivReference.APPLICATION_PIN
  #guid: string | undefined

  constructor(connection: CardConnection) {
    super(connection, { name: 'PIV', aid: pivAid })
    this.pin = new PinReference(this, {
      name: 'PIN',
      reference: () => this.#pinReference,
      format: pinFormat,
      // If the object is absent or malformed, the PIN is the application PIN.
      prepare: async (channel, options) =>
        void (await undefinedIfRefused(this.readDiscovery(channel, options))),
      readTries: (channel, options) => this.readPinTries(channel, options),
    })
  }

  /**
   * Selects PIV and stores the CHUID as the card's fingerprint: two APDUs, and a third if these do not show whether the
   * card has PIV. Resolves to undefined if the card has no PIV application. Rejects with MalformedError if that cannot be
   * decided.
   */
  static async open(connection: CardConnection, options?: TransmitOptions): Promise<PivApplet | undefined> {
    const applet = new PivApplet(connection)
    const work = (channel: CardChannel): Promise<boolean> => applet.#identify(channel, options)
    return (await connection.transaction(applet, work, options)) ? applet : undefined
  }

  async #identify(channel: CardChannel, options: TransmitOptions | undefined): Promise<boolean> {
    this.reportsKeyPolicies = toHex(channel.atr).includes(YUBIKEY)
    let template: Uint8Array
    try {
      template = await this.select(channel, options)
    } catch (error) {
      if (error instanceof StatusError && !isNotExecuted(error.sw)) return false
      throw error
    }
    const read = (tag: number): Promise<ResponseApdu | undefined> =>
      undefinedIfRefused(this.#getData(channel, tag, options))
    const chuid = await read(PivObject.CHUID)
    const isPiv =
      isPivApplication(template, chuid) ?? isPivApplication(template, chuid, await read(PivObject.DISCOVERY))
    if (isPiv === undefined) throw new MalformedError('PIV application', 'none of its objects can be read')
    this.remember(fingerprintOf(chuid))
    // The card is usable even if its CHUID is malformed.
    this.#guid = await undefinedIfRefused(guidIn(chuid))
    return isPiv
  }

  /** GUID of the CHUID in hex, as read when the applet was opened. Undefined if the card has no GUID that identifies it. */
  get guid(): string | undefined {
    return this.#guid
  }

  /** P2 of VERIFY: 80, or 00 if the discovery object prefers the global PIN. */
  get pinReference(): number {
    return this.#pinReference
  }

  /**
   * Resolves to the CHUID in hex, or to a constant if the card has none or protects it. Undefined if the card cannot be
   * identified.
   */
  override async fingerprint(channel: CardChannel, options?: TransmitOptions): Promise<string | undefined> {
    return fingerprintOf(await undefinedIfRefused(this.#getData(channel, PivObject.CHUID, options)))
  }

  /** Reads the discovery object and adopts its PIN reference. Resolves to undefined if the card has no such object. */
  async readDiscovery(channel: CardChannel, options?: TransmitOptions): Promise<PivDiscovery | undefined> {
    const object = await this.readObject(channel, PivObject.DISCOVERY, options)
    const discovery = object === undefined || object.length === 0 ? undefined : decodeDiscovery(object)
    const reference = discovery?.pinReference ?? PivReference.APPLICATION_PIN
    if (reference !== this.#pinReference) this.pin.forgetTries()
    this.#pinReference = reference
    return discovery
  }

  /** Reads the certificate of a slot. Resolves to undefined if there is none. */
  async readCertificate(
    channel: CardChannel,
    slot: PivSlot,
    options?: TransmitOptions,
  ): Promise<PivCertificate | undefined> {
    const object = await this.readObject(channel, slot.certificateTag, options)
    return object === undefined ? undefined : decodeCertificate(object)
  }

  /** Reads a whole data object with GET DATA. Resolves to undefined if the card has no such object. */
  async readObject(
    channel: CardChannel,
    tag: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    return presentData(await this.#getData(channel, tag, options))
  }

  /**
   * Reads at most the first 256 bytes of a data object, in one APDU. Resolves to undefined if the card has no such
   * object.
   */
  async readObjectHead(
    channel: CardChannel,
    tag: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    const response = await this.exchange(channel, getData(tag, 256), { ...options, follow: false })
    if (response.sw >> 8 === 0x61) return response.data
    return presentData(response)
  }

  /**
   * Reads the attempts left with GET METADATA of Yubico, firmware 5.3 and later
   * (https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/metadata.html), which reports them even while the
   * PIN is verified. Resolves to undefined if the card does not report them.
   */
  async readPinTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    return (await this.#metadata(channel, this.#pinReference, METADATA_TRIES, options))?.[1]
  }

  /**
   * Reads what a key requires before each use, with GET METADATA. Resolves to undefined if there is no such key or the card
   * does not report it. Sets `reportsKeyPolicies` to false if the card does not support the command.
   */
  async readKeyPolicy(
    channel: CardChannel,
    key: number,
    options?: TransmitOptions,
  ): Promise<PivKeyPolicy | undefined> {
    const policy = await this.#metadata(channel, key, METADATA_POLICY, options)
    if (policy === undefined) return undefined
    // "Match once" and "match always" (4 and 5) accept a fingerprint or the PIN.
    const pin = ([undefined, 'never', 'once', 'always', 'once', 'always'] as const)[policy[0] ?? 0]
    // A "cached" touch (3) is valid for 15 seconds.
    const touch = ([undefined, false, true] as const)[policy[1] ?? 0]
    return { pin, touch }
  }

  async #metadata(
    channel: CardChannel,
    reference: number,
    tag: number,
    options: TransmitOptions | undefined,
  ): Promise<Uint8Array | undefined> {
    const command = { name: 'GET METADATA', cla: 0, ins: 0xf7, p1: 0, p2: reference, responseBytes: 256 }
    const read = async (): Promise<Uint8Array | undefined> => {
      const response = await this.exchange(channel, command, options)
      if (response.sw === SW.INS_NOT_SUPPORTED) this.reportsKeyPolicies = false
      return firstTlv(expectOk(response, command.name), tag)?.value
    }
    // Another manufacturer may use this INS for another command.
    return undefinedIfRefused(read())
  }

  /**
   * Uses a private key with GENERAL AUTHENTICATE. `algorithm` is P1 (`PivAlgorithm`), `key` is P2. Resolves to the content
   * of 82: an RSA block, a signature in DER or a shared secret. Rejects with StatusError or MalformedError.
   */
  async generalAuthenticate(
    channel: CardChannel,
    algorithm: number,
    key: number,
    input: AuthenticateInput,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const command = {
      name: 'GENERAL AUTHENTICATE',
      cla: 0,
      ins: 0x87,
      p1: algorithm,
      p2: key,
      data: encodeTlv(0x7c, encodeTlv(0x82), encodeTlv(input.tag, input.value)),
      responseBytes: ALL_BYTES,
    }
    const template = firstTlv(expectOk(await this.exchange(channel, command, options), command.name))
    const result = template?.tag === 0x7c ? firstTlv(template.value, 0x82)?.value : undefined
    if (result === undefined || result.length === 0) {
      throw new MalformedError('response to GENERAL AUTHENTICATE', 'no 82 in 7C')
    }
    return result
  }

  #getData(channel: CardChannel, tag: number, options?: TransmitOptions): Promise<ResponseApdu> {
    return this.exchange(channel, getData(tag, ALL_BYTES), options)
  }
}

function getData(tag: number, responseBytes: number): NamedCommand {
  const tagBytes =
    tag > 0xffff ? [tag >> 16, (tag >> 8) & 0xff, tag & 0xff] : tag > 0xff ? [tag >> 8, tag & 0xff] : [tag]
  const data = concatBytes([0x5c, tagBytes.length], tagBytes)
  return { name: 'GET DATA', cla: 0, ins: 0xcb, p1: 0x3f, p2: 0xff, data, responseBytes }
}

/** Returns undefined for an absent object: 6A82, or 6A88 on some cards. */
function presentData(response: ResponseApdu): Uint8Array | undefined {
  if (response.sw === SW.NOT_FOUND || response.sw === SW.REFERENCED_DATA_NOT_FOUND) return undefined
  return expectOk(response, 'GET DATA')
}

function fingerprintOf(chuid: ResponseApdu | undefined): string | undefined {
  switch (chuid?.sw) {
    case SW.OK:
      return toHex(chuid.data)
    case SW.NOT_FOUND:
    case SW.REFERENCED_DATA_NOT_FOUND:
      return 'none'
    case SW.SECURITY_STATUS_NOT_SATISFIED:
      return 'kept'
    default:
      // Another application is selected, or the card refuses for another reason: it cannot be identified.
      return undefined
  }
}

async function guidIn(chuid: ResponseApdu | undefined): Promise<string | undefined> {
  const guid = chuid?.sw === SW.OK ? decodeChuid(chuid.data).guid : undefined
  return guid && toHex(guid)
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
