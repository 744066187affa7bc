/** The PIV card application's commands, SP 800-73-4 part 2 clause 3, over the channel of a transaction. */
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

/** The dynamic authentication template's request: a challenge to sign or decrypt (81), or a peer's point (85). */
export interface AuthenticateInput {
  readonly tag: 0x81 | 0x85
  readonly value: Uint8Array
}

/** What a card tells that one of its keys asks before each use. undefined: the card tells nothing clear of it. */
export interface PivKeyPolicy {
  readonly pin: 'never' | 'once' | 'always' | undefined
  /** Whether each use waits for a touch; undefined also if one touch counts for several uses. */
  readonly touch: boolean | undefined
}

/** More than any key's result or certificate; the exchange asks for what the channel can take of it. */
const ALL_BYTES = 65536
/** In metadata: PIN and touch policy, one byte each; all attempts and those that are left, one byte each. */
const METADATA_POLICY = 0x02
const METADATA_TRIES = 0x06
/** The card issuer's data in the historical bytes of the YubiKey 5 series, tag and length included, in hex. */
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

/** One card's PIV application, for as long as its connection lives. */
export class PivApplet extends CardApplication {
  /** The PIN that the discovery object names: the application's own, or the card's global one. */
  readonly pin: PinReference
  /** Whether the card may tell the policies of its keys: its ATR names a YubiKey 5, and it has not refused to. */
  reportsKeyPolicies = false
  #pinReference: number = PivReference.APPLICATION_PIN
  #guid: string | undefined

  constructor(connection: CardConnection) {
    super(connection, { name: 'PIV', aid: pivAid })
    this.pin = new PinReference(this, {
      name: 'PIN',
      reference: () => this.#pinReference,
      format: pinFormat,
      // Without it, or if it is nonsense, the PIN is the application's own.
      prepare: async (channel, options) => void (await ifSound(this.readDiscovery(channel, options))),
      readTries: (channel, options) => this.readPinTries(channel, options),
    })
  }

  /**
   * Selects PIV and remembers by which CHUID the card is known again: two APDUs, and one more on a card that shows by
   * neither that it has PIV. undefined: the card has no PIV application.
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
      ifSound(this.#getData(channel, tag, options))
    const chuid = await read(PivObject.CHUID)
    const isPiv =
      isPivApplication(template, chuid) ?? isPivApplication(template, chuid, await read(PivObject.DISCOVERY))
    if (isPiv === undefined) throw new MalformedError('PIV application', 'none of its objects can be read')
    this.remember(fingerprintOf(chuid))
    // A CHUID that lies is no reason to refuse the card.
    this.#guid = await ifSound(guidIn(chuid))
    return isPiv
  }

  /** GUID of the CHUID, in hex, as it was when the applet was opened; undefined: there is none that identifies a card. */
  get guid(): string | undefined {
    return this.#guid
  }

  /** Reference of the PIN that VERIFY uses: 80 unless discovery said 00. */
  get pinReference(): number {
    return this.#pinReference
  }

  /** The CHUID as it stands, in hex, or that the card has none or keeps it; undefined: the card cannot be known again. */
  override async fingerprint(channel: CardChannel, options?: TransmitOptions): Promise<string | undefined> {
    return fingerprintOf(await ifSound(this.#getData(channel, PivObject.CHUID, options)))
  }

  /** Reads the discovery object and takes over its PIN reference; undefined where the card has none. */
  async readDiscovery(channel: CardChannel, options?: TransmitOptions): Promise<PivDiscovery | undefined> {
    const object = await this.readObject(channel, PivObject.DISCOVERY, options)
    const discovery = object === undefined || object.length === 0 ? undefined : decodeDiscovery(object)
    const reference = discovery?.pinReference ?? PivReference.APPLICATION_PIN
    if (reference !== this.#pinReference) this.pin.forgetTries()
    this.#pinReference = reference
    return discovery
  }

  /** Reads a slot's certificate; undefined where there is none. */
  async readCertificate(
    channel: CardChannel,
    slot: PivSlot,
    options?: TransmitOptions,
  ): Promise<PivCertificate | undefined> {
    const object = await this.readObject(channel, slot.certificateTag, options)
    return object === undefined ? undefined : decodeCertificate(object)
  }

  /** GET DATA, whole; undefined where the card has no such object. */
  async readObject(
    channel: CardChannel,
    tag: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    return presentData(await this.#getData(channel, tag, options))
  }

  /** The first 256 bytes at most of an object, in one APDU, the rest left on the card; undefined where it is absent. */
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
   * GET METADATA of the PIN (Yubico, firmware 5.3 and later): the attempts left, told also while it is verified.
   * undefined: the card does not tell.
   */
  async readPinTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    return (await this.#metadata(channel, this.#pinReference, METADATA_TRIES, options))?.[1]
  }

  /**
   * GET METADATA of a key: what it asks before each use. undefined: there is no such key, or the card does not tell; if it
   * does not know the command, it is not asked again.
   */
  async readKeyPolicy(
    channel: CardChannel,
    key: number,
    options?: TransmitOptions,
  ): Promise<PivKeyPolicy | undefined> {
    const policy = await this.#metadata(channel, key, METADATA_POLICY, options)
    if (policy === undefined) return undefined
    // "Match once" and "match always" (4 and 5) take a fingerprint or the PIN.
    const pin = ([undefined, 'never', 'once', 'always', 'once', 'always'] as const)[policy[0] ?? 0]
    // A touch that is "cached" (3) counts for 15 seconds.
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
    // Another maker's command may go by that number.
    return ifSound(read())
  }

  /** GENERAL AUTHENTICATE with a private key; resolves to what stands in 82: RSA block, DER signature or shared secret. */
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
      throw new MalformedError('answer to GENERAL AUTHENTICATE', 'no result in 7C')
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

/** Absent objects answer 6A82, on some cards 6A88. */
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
      // A card on which nothing is selected refuses otherwise, and cannot be known again.
      return undefined
  }
}

async function guidIn(chuid: ResponseApdu | undefined): Promise<string | undefined> {
  const guid = chuid?.sw === SW.OK ? decodeChuid(chuid.data).guid : undefined
  return guid && toHex(guid)
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
