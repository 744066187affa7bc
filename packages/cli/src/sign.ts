/** `webtoki sign`: signs a file with a key on a card, in a form that OpenSSL verifies. */
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { encodeTlv } from '@webtoki/apdu'
import {
  CKA,
  CKK,
  CKM,
  CKO,
  CKR,
  type CkObject,
  Cryptoki,
  CryptokiError,
  type PinSource,
  type Session,
  type SignatureMechanism,
  signMechanism,
} from '@webtoki/cryptoki'
import { parseOptions, readerOptions, UsageError } from './arguments.ts'
import { connect } from './connect.ts'
import { namedKeys } from './keys.ts'
import { failWithoutCard, presentSlots, tokenSlots } from './present-slots.ts'

const signOptions = {
  ...readerOptions,
  key: { type: 'string' },
  mechanism: { type: 'string' },
  in: { type: 'string' },
  out: { type: 'string' },
  'public-key': { type: 'string' },
  'signature-format': { type: 'string' },
  'pin-stdin': { type: 'boolean' },
  'accept-last-try': { type: 'boolean' },
} as const

/**
 * Signs the file `--in` with `--key` and writes the signature to `--out`, and the public key to `--public-key` if given.
 * Throws UsageError for a wrong command line or a missing PIN, CryptokiError for what the card or the token refuses.
 */
export async function sign(
  args: readonly string[],
  output: (line: string) => void,
  complain: (line: string) => void,
): Promise<void> {
  const options = parseOptions(args, signOptions)
  // The whole command line is checked before the card is touched.
  const keyName = required(options.key, '--key').toLowerCase()
  const named = namedKeys.get(keyName)
  if (named === undefined) throw new UsageError(`--key must be one of ${[...namedKeys.keys()].join(', ')}.`)
  const mechanism = mechanismNamed(required(options.mechanism, '--mechanism'))
  const inFile = required(options.in, '--in')
  const outFile = required(options.out, '--out')
  const format = options['signature-format'] ?? 'der'
  if (format !== 'der' && format !== 'raw') throw new UsageError("--signature-format must be 'der' or 'raw'.")

  const connected = await connect(options)
  const { source, simulatedPin } = connected
  const cryptoki = new Cryptoki({ sources: [source], drivers: [named.driver()], login: 'on-demand' })
  try {
    const [first] = await presentSlots(cryptoki)
    if (first === undefined) return await failWithoutCard(cryptoki, connected, complain)
    const slot = named.token === 0 ? first : (await tokenSlots(cryptoki, first))[named.token]
    if (slot === undefined)
      throw new CryptokiError(CKR.KEY_HANDLE_INVALID, {
        detail: `the card has no token that holds the key ${keyName}`,
      })
    const pin = pinSource(options['pin-stdin'] === true, simulatedPin, options['accept-last-try'] === true)
    const session = await slot.openSession({ pin })
    const id = Uint8Array.of(named.id)
    const key = await findObject(session, CKO.PRIVATE_KEY, id)
    const publicKey = await findObject(session, CKO.PUBLIC_KEY, id)
    const raw = await session.sign(mechanism, key, createReadStream(inFile))
    const isEcdsa = key.get(CKA.KEY_TYPE) === CKK.EC
    const signature = isEcdsa && format === 'der' ? ecdsaToDer(raw) : raw
    await writeFile(outFile, signature)
    output(`${outFile}: signature of ${signature.length} bytes`)
    const publicKeyFile = options['public-key']
    if (publicKeyFile !== undefined) {
      await writeFile(publicKeyFile, pem(publicKey.get(CKA.PUBLIC_KEY_INFO)))
      output(`${publicKeyFile}: public key`)
    }
    await session.close()
  } finally {
    await cryptoki.close()
  }
}

function required(value: string | undefined, option: string): string {
  if (value === undefined) throw new UsageError(`${option} is missing. See webtoki --help.`)
  return value
}

/** Accepts CKM_RSA_PKCS_PSS although its parameters cannot be given here; `session.sign` refuses it without them. */
function mechanismNamed(name: string): SignatureMechanism {
  const key = name.replace(/^CKM_/, '')
  const type = Object.hasOwn(CKM, key) ? CKM[key as keyof typeof CKM] : undefined
  if (type === undefined) throw new UsageError(`Unknown mechanism '${name}'.`)
  if (signMechanism(type) === undefined) throw new UsageError(`The mechanism '${name}' cannot sign.`)
  return { type } as SignatureMechanism
}

async function findObject(session: Session, objectClass: CKO, id: Uint8Array): Promise<CkObject> {
  const [object] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: id })
  if (object === undefined)
    throw new CryptokiError(CKR.KEY_HANDLE_INVALID, {
      detail: 'the token lists no such key (a PIV key without a certificate is not listed)',
    })
  return object
}

/** Never takes the PIN from the command line, which every program on the computer can read. */
function pinSource(fromInput: boolean, simulatedPin: string | undefined, acceptLastTry: boolean): PinSource {
  return async ({ lastTry }) => {
    if (lastTry && !acceptLastTry) {
      throw new UsageError('Only 1 PIN attempt is left. Give --accept-last-try to use it.')
    }
    const pin = fromInput ? await nextLine() : simulatedPin && new TextEncoder().encode(simulatedPin)
    if (!pin)
      throw new UsageError('The key needs a PIN. Give --pin-stdin and write the PIN to standard input.')
    return acceptLastTry ? { pin, acceptLastTry: true } : { pin }
  }
}

/** The bytes after the last line that was read. */
let unread = Buffer.alloc(0)

/** Reads the next line of standard input without its line end, as bytes, because a string cannot be overwritten. */
async function nextLine(): Promise<Uint8Array | undefined> {
  const input = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  // The writer may keep the pipe open. Without unref the open pipe would keep this process running.
  const handle = process.stdin as { ref?(): void; unref?(): void }
  handle.ref?.()
  for (;;) {
    const end = unread.indexOf(0x0a)
    if (end >= 0) {
      const hasReturn = end > 0 && unread[end - 1] === 0x0d
      const line = Uint8Array.from(unread.subarray(0, hasReturn ? end - 1 : end))
      unread.fill(0, 0, end)
      unread = unread.subarray(end + 1)
      handle.unref?.()
      return line
    }
    const { done, value } = await input.next()
    if (done === true) {
      const line = unread.length > 0 ? Uint8Array.from(unread) : undefined
      unread.fill(0)
      unread = Buffer.alloc(0)
      return line
    }
    const joined = Buffer.concat([unread, value])
    unread.fill(0)
    value.fill(0)
    unread = joined
  }
}

/** Encodes r‖s as the SEQUENCE that OpenSSL expects (RFC 3279, 2.2.3). */
function ecdsaToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  return encodeTlv(0x30, integer(raw.subarray(0, half)), integer(raw.subarray(half)))
}

function integer(magnitude: Uint8Array): Uint8Array {
  let at = 0
  while (at < magnitude.length - 1 && magnitude[at] === 0) at++
  const bytes = magnitude.subarray(at)
  return (bytes[0] as number) >= 0x80 ? encodeTlv(0x02, Uint8Array.of(0), bytes) : encodeTlv(0x02, bytes)
}

function pem(publicKeyInfo: Uint8Array): string {
  const lines =
    Buffer.from(publicKeyInfo)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`
}
