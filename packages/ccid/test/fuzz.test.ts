/**
 * Random and mutated messages, blocks, ATRs and descriptors, 90,000 in total (10,000 more ATRs in the test of
 * `apdu`). Nothing hangs, grows without limit or fails with an untyped error. No command is executed twice, and
 * afterwards a correct reader and card work. WEBTOKI_FUZZ=10 runs ten times as many, WEBTOKI_SEED sets another seed.
 */
import type { Clock } from '@webtoki/device'
import { CardGarbledError, ReaderGoneError, WebtokiError, TransferError } from '@webtoki/apdu'
import { readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import fc from 'fast-check'
import { Subject } from 'rxjs'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { type CcidDescriptor, decodeCcidDescriptor, findCcidInterfaces } from '../src/descriptors.ts'
import { decodeResponse, decodeInterruptMessage } from '../src/messages.ts'
import type { CcidPipe, PipeEnd } from '../src/pipe.ts'
import { describePlan, planFor } from '../src/plan.ts'
import { CcidReader } from '../src/reader.ts'
import { CcidSlot } from '../src/slot.ts'
import { stepT0, beginT0 } from '../src/tpdu/t0-characters.ts'
import type { BlockResponse } from '../src/tpdu/t1-transport.ts'
import { plainT1 } from './plain-t1.ts'

const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {}
const times = Number(env['WEBTOKI_FUZZ'] ?? 1)
const seed = Number(env['WEBTOKI_SEED'] ?? 20_261_125)
const counted = new Map<string, number>()
const parameters = (name: string, runs: number) => {
  const numRuns = runs * times
  counted.set(name, (counted.get(name) ?? 0) + numRuns)
  return { seed, numRuns }
}
const TIMEOUT_MS = 60_000 * times

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

/** A clock that stops until no task is pending, and then advances to the next timer. */
class FuzzClock implements Clock {
  nowMs = 0
  #timers: { readonly dueMs: number; readonly callback: () => void }[] = []

  now(): number {
    return this.nowMs
  }

  setTimeout(callback: () => void, delayMs: number): unknown {
    const timer = { dueMs: this.nowMs + delayMs, callback }
    this.#timers.push(timer)
    return timer
  }

  clearTimeout(timer: unknown): void {
    this.#timers = this.#timers.filter((other) => other !== timer)
  }

  /** Runs the next timer. False if there is none, so that nothing more can happen. */
  runNext(): boolean {
    const [first, ...others] = this.#timers
    if (first === undefined) return false
    const next = others.reduce((soonest, each) => (each.dueMs < soonest.dueMs ? each : soonest), first)
    this.clearTimeout(next)
    this.nowMs = Math.max(this.nowMs, next.dueMs)
    next.callback()
    return true
  }

  /** Settles as the work does. Throws if the work hangs, or is still pending after a number of timers. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const watched = work.finally(() => {
      isOver = true
    })
    watched.catch(() => {})
    for (let steps = 0; steps < 3000; steps++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (isOver) return watched
      if (!this.runNext()) throw new Error('The work hangs: no task and no timer is pending.')
    }
    throw new Error('It is not over after 3000 timers.')
  }
}

type Mutation =
  | { readonly do: 'pass' }
  | { readonly do: 'bytes'; readonly bytes: Uint8Array }
  | { readonly do: 'change'; readonly at: number; readonly value: number }
  | { readonly do: 'cut'; readonly bytes: number }
  | { readonly do: 'grow'; readonly bytes: Uint8Array }
  | { readonly do: 'status'; readonly bStatus: number; readonly bError: number; readonly type?: number }
  | { readonly do: 'data'; readonly bytes: Uint8Array; readonly parameter: number }
  | { readonly do: 'block'; readonly pcb: number; readonly bytes: Uint8Array }
  | { readonly do: 'silence' }
  | { readonly do: 'stale'; readonly frames: number }
  | { readonly do: 'extend'; readonly frames: number; readonly multiplier: number }
  | { readonly do: 'fail'; readonly how: 'transfer' | 'gone' | 'odd' }
  | { readonly do: 'notice'; readonly bytes: Uint8Array }

const byte = fc.integer({ min: 0, max: 255 })
const error = fc.constantFrom(
  0xff,
  0xfe,
  0xfd,
  0xfc,
  0xfb,
  0xf8,
  0xf7,
  0xf4,
  0xf2,
  0xe0,
  0xef,
  0,
  1,
  5,
  7,
  10,
)
const pcb = fc.constantFrom(
  ...[
    0x00, 0x40, 0x20, 0x60, 0x80, 0x90, 0x81, 0x91, 0x82, 0x92, 0xc0, 0xe0, 0xc1, 0xe1, 0xc2, 0xe2, 0xc3,
    0xe3,
  ],
)
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ do: 'pass' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('bytes' as const), bytes: fc.uint8Array({ maxLength: 80 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('change' as const), at: fc.nat(30), value: byte }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), bytes: fc.nat(40) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('grow' as const),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('status' as const),
      bStatus: fc.constantFrom(0x40, 0x41, 0x42, 0x80, 0x00, 0x01, 0x02, 0xc0, 0x43),
      bError: fc.oneof(error, byte),
      type: fc.constantFrom(0x80, 0x81, 0x82, 0x83),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('data' as const),
      bytes: fc.uint8Array({ maxLength: 40 }),
      parameter: fc.constantFrom(0, 1, 2, 3, 0x10, 4, 255),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('block' as const), pcb, bytes: fc.uint8Array({ maxLength: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'silence' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('stale' as const), frames: fc.integer({ min: 1, max: 9 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('extend' as const),
      frames: fc.integer({ min: 1, max: 5 }),
      multiplier: byte,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      how: fc.constantFrom('transfer' as const, 'gone' as const, 'odd' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('notice' as const),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc.constantFrom(
          hex('5002'),
          hex('5003'),
          hex('5000'),
          hex('51000001'),
          hex('51000101'),
          hex('51000201'),
        ),
      ),
    }),
  },
)

/** The card's side of T=1 as far as the fuzz test needs it: executes, repeats, resynchronises. */
class PlainT1Card {
  executed = 0
  #expects = 0
  #sends = 0
  #last = new Uint8Array(0)
  #command: number[] = []

  restart(): void {
    this.#expects = 0
    this.#sends = 0
    this.#command = []
    this.#last = new Uint8Array(0)
  }

  respond(block: Uint8Array): Uint8Array {
    const code = block[1] ?? 0
    const information = block.slice(3, -1)
    if (code < 0x80) {
      if (code >> 6 !== this.#expects) return frame(0x82 | (this.#expects << 4))
      this.#expects ^= 1
      this.#command.push(...information)
      if (code & 0x20) return this.#respond(0x80 | (this.#expects << 4))
      const response = answerOf(Uint8Array.from(this.#command))
      this.executed++
      this.#command = []
      const sentBlock = this.#respond(this.#sends << 6, response)
      this.#sends ^= 1
      return sentBlock
    }
    if (code === 0xc0) {
      this.restart()
      return frame(0xe0)
    }
    if (code === 0xc1) return frame(0xe1, information)
    if (code === 0xc2) {
      this.#command = []
      return frame(0xe2)
    }
    // An R-block, or a response to a request that only a mutation sent.
    const requested = (code >> 4) & 1
    if (code < 0xc0 && this.#last.length > 0 && (this.#last[1] ?? 0) < 0x80 && requested !== this.#sends)
      return this.#last
    return frame(0x80 | (this.#expects << 4))
  }

  #respond(code: number, information: Uint8Array = new Uint8Array(0)): Uint8Array {
    this.#last = frame(code, information)
    return this.#last
  }
}

/** NAD 00, LEN, LRC. */
function frame(code: number, information: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const head = [0, code, information.length, ...information]
  return Uint8Array.of(
    ...head,
    head.reduce((sum, each) => sum ^ each, 0),
  )
}

/** Case 4: echoes the data. Case 1: only the status. */
function answerOf(command: Uint8Array): Uint8Array {
  return command.length > 5 ? Uint8Array.of(...command.slice(5, -1), 0x90, 0) : Uint8Array.of(0x90, 0)
}

/** Asserts without the cost of the test runner's assertion, a tenth of a millisecond in each of many cases. */
function must(isSo: boolean, what: string): asserts isSo {
  if (!isSo) throw new Error(what)
}

function mustBeOurs(reason: unknown): asserts reason is WebtokiError {
  if (!(reason instanceof WebtokiError)) throw reason
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at])
}

type Model = 'apdu' | 'tpdu' | 'character'
type Setting = {
  readonly model: Model
  readonly descriptor: CcidDescriptor
  readonly atr: Uint8Array
  readonly command: Uint8Array
}

const echo = hex('00 10 00 00 03 07 08 09 00')
const bare = hex('00 10 00 00')
const T0_ATR = hex('3b 00')
const T1_ATR = hex('3b 80 01 81')
/** TA1 96, T=0 first and T=1 second, IFSC 254, BWI 4, CWI 5. */
const BOTH_ATR = hex('3b 90 96 80 31 fe 45 3c')
const descriptorOf = (text: string): CcidDescriptor => decodeCcidDescriptor(hex(text))
const scr331 = descriptorOf(readerProfiles.scr331.ccidDescriptor)
const gemPcTwin = descriptorOf(readerProfiles.gemPcTwin.ccidDescriptor)
const settings: Readonly<Record<string, Setting>> = {
  'extended APDUs': {
    model: 'apdu',
    descriptor: descriptorOf(readerProfiles.dualiAbcm6.ccidDescriptor),
    atr: BOTH_ATR,
    command: echo,
  },
  'short APDUs': {
    model: 'apdu',
    descriptor: descriptorOf(readerProfiles.omnikey3021.ccidDescriptor),
    atr: BOTH_ATR,
    command: echo,
  },
  'TPDUs over T=1': { model: 'tpdu', descriptor: scr331, atr: T1_ATR, command: echo },
  'TPDUs over T=0': { model: 'tpdu', descriptor: scr331, atr: T0_ATR, command: bare },
  'TPDUs, PPS by the host': { model: 'tpdu', descriptor: gemPcTwin, atr: BOTH_ATR, command: bare },
  'characters over T=0': {
    model: 'character',
    descriptor: { ...gemPcTwin, level: 'character' },
    atr: T0_ATR,
    command: bare,
  },
}

/** A correct reader apart from its mutations. The driver sees only its pipe. */
class FuzzedReader {
  readonly notices = new Subject<Uint8Array>()
  mutations: Mutation[] = []
  sent = 0
  /** How often the card has executed the command. */
  executed = 0
  /** True if a mutation reported "busy", which allows the driver to send the message again. */
  hasLied = false
  readonly #setting: Setting
  readonly #t1 = new PlainT1Card()
  #queue: Uint8Array[] = []
  #reader:
    | { readonly resolve: (bytes: Uint8Array) => void; readonly reject: (error: Error) => void }
    | undefined
  #isOn = false
  #speaksT1 = false
  #mayPps = false
  #characters: number[] = []
  #failure: Error | undefined

  constructor(setting: Setting) {
    this.#setting = setting
  }

  open = async (): Promise<CcidPipe> => {
    this.#queue = []
    this.#reader = undefined
    this.#failure = undefined
    let resolveEnded!: (end: PipeEnd) => void
    const ended = new Promise<PipeEnd>((resolve) => {
      resolveEnded = resolve
    })
    const gone = new ReaderGoneError()
    return {
      ended,
      interruptMessages$: this.notices,
      send: async (message) => this.#took(message.slice()),
      receive: () => {
        const next = this.#queue.shift()
        if (next !== undefined) return Promise.resolve(next)
        const failure = this.#failure
        this.#failure = undefined
        if (failure !== undefined) return Promise.reject(failure)
        return new Promise((resolve, reject) => {
          this.#reader = { resolve, reject }
        })
      },
      abort: async () => {},
      close: async () => {
        resolveEnded({ reason: 'closed', error: gone })
        this.#reader?.reject(gone)
        this.#reader = undefined
      },
    }
  }

  #give(bytes: Uint8Array): void {
    const reader = this.#reader
    this.#reader = undefined
    if (reader === undefined) this.#queue.push(bytes)
    else reader.resolve(bytes)
  }

  #took(message: Uint8Array): void {
    if (++this.sent > 5000) throw new Error('The driver sends without an end.')
    const mutation = this.mutations.shift() ?? { do: 'pass' }
    const [slot = 0, sequence = 0] = message.slice(5, 7)
    // A reader that reports "busy" has not passed the command on.
    const isBusy = mutation.do === 'status' && (mutation.bError === 0xe0 || mutation.bError === 0xf2)
    if (isBusy) this.hasLied = true
    const received = isBusy ? message.slice(0, 10) : this.#honest(message)
    const whole = (type: number, three: readonly number[], data: Uint8Array): Uint8Array =>
      Uint8Array.of(type, data.length & 0xff, data.length >> 8, 0, 0, slot, sequence, ...three, ...data)
    switch (mutation.do) {
      case 'pass':
        break
      case 'bytes':
        this.#give(mutation.bytes)
        return
      case 'change':
        if (mutation.at < received.length) received[mutation.at] = mutation.value
        // A random header may happen to report "busy".
        this.hasLied = true
        break
      case 'cut':
        this.#give(received.slice(0, mutation.bytes))
        return
      case 'grow':
        this.#give(Uint8Array.of(...received, ...mutation.bytes))
        return
      case 'status':
        this.#give(whole(mutation.type ?? 0x80, [mutation.bStatus, mutation.bError, 0], new Uint8Array(0)))
        return
      case 'data':
        this.#give(whole(received[0] ?? 0x80, [0, 0, mutation.parameter], mutation.bytes))
        return
      case 'block':
        this.#give(whole(0x80, [0, 0, 0], frame(mutation.pcb, mutation.bytes)))
        return
      case 'silence':
        return
      case 'stale':
        for (let back = mutation.frames; back > 0; back--)
          this.#give(Uint8Array.of(0x80, 2, 0, 0, 0, slot, (sequence - back) & 0xff, 0, 0, 0, 0x90, 0))
        break
      case 'extend':
        for (let frames = mutation.frames; frames > 0; frames--)
          this.#give(whole(received[0] ?? 0x80, [0x80, mutation.multiplier, 0], new Uint8Array(0)))
        break
      case 'fail': {
        const failure =
          mutation.how === 'transfer'
            ? new TransferError('a transfer failed')
            : mutation.how === 'gone'
              ? new ReaderGoneError()
              : new RangeError('an error from outside the driver')
        const reader = this.#reader
        this.#reader = undefined
        if (reader === undefined) this.#failure = failure
        else reader.reject(failure)
        return
      }
      case 'notice':
        this.notices.next(mutation.bytes)
        break
    }
    this.#give(received)
  }

  #honest(message: Uint8Array): Uint8Array {
    const [type = 0] = message
    const [slot = 0, sequence = 0] = message.slice(5, 7)
    const data = message.slice(10)
    const say = (kind: number, body: Uint8Array = new Uint8Array(0), third = 0, code = 0): Uint8Array => {
      const status = (this.#isOn ? 0 : 1) | (code === 0 ? 0 : 0x40)
      return Uint8Array.of(
        kind,
        body.length & 0xff,
        body.length >> 8,
        0,
        0,
        slot,
        sequence,
        status,
        code,
        third,
        ...body,
      )
    }
    switch (type) {
      case 0x62:
        this.#isOn = true
        this.#speaksT1 = sameBytes(this.#setting.atr, T1_ATR)
        this.#mayPps = true
        this.#characters = []
        this.#t1.restart()
        return say(0x80, this.#setting.atr)
      case 0x63:
        this.#isOn = false
        return say(0x81)
      case 0x61:
        this.#speaksT1 = message[7] === 1
        return say(0x82, data, message[7])
      case 0x6c:
        return say(0x82, hex(this.#speaksT1 ? '1110004d002000' : '1100000a00'), this.#speaksT1 ? 1 : 0)
      case 0x6f:
        if (!this.#isOn) return say(0x80, undefined, 0, 0xfe)
        return say(0x80, this.#exchange(data, message[8] ?? 0))
      default:
        return say(0x81)
    }
  }

  #exchange(data: Uint8Array, expects: number): Uint8Array {
    if (this.#mayPps && data[0] === 0xff && this.#setting.model !== 'apdu') {
      this.#mayPps = false
      if (this.#setting.model === 'tpdu') return data
      this.#characters = [...data]
      return Uint8Array.from(this.#characters.splice(0, expects))
    }
    this.#mayPps = false
    if (this.#setting.model === 'character') {
      if (data.length > 0) {
        this.executed++
        this.#characters = [0x90, 0]
      }
      return Uint8Array.from(this.#characters.splice(0, expects))
    }
    if (this.#setting.model === 'apdu' || !this.#speaksT1) {
      // An empty block requests the next part of a response.
      if (data.length > 0) this.executed++
      return answerOf(data)
    }
    const received = this.#t1.respond(data)
    this.executed = this.#t1.executed
    return received.slice()
  }
}

const device = { controlTransferIn: async () => ({ status: 'stall' }) } as unknown as USBDevice
const decoded = findCcidInterfaces(
  new VirtualCcidReader(readerProfiles.scr331).configurationDescriptors[0] as Uint8Array,
)[0] as ReturnType<typeof findCcidInterfaces>[number]
const usbInterface = { ...decoded, quirk: {}, label: '', refusal: undefined, warning: undefined }

/** Runs one session on a faulty reader, then one on the same reader without faults. */
async function session(setting: Setting, mutations: readonly Mutation[], atr = setting.atr): Promise<void> {
  const clock = new FuzzClock()
  const fuzzed = new FuzzedReader({ ...setting, atr })
  const reader = new CcidReader(setting.descriptor, clock, fuzzed.open, { device, usbInterface })
  const slot = new CcidSlot(reader, 0, { id: 'fuzz', name: 'fuzz', kind: 'contact' }, new Map())
  const use = async (): Promise<Uint8Array> => {
    const connection = await slot.connect()
    try {
      return await connection.transaction(fuzzed, (channel) =>
        channel.transmit(setting.command, { timeoutMs: 2000 }),
      )
    } finally {
      await connection.close()
    }
  }
  fuzzed.mutations = [...mutations]
  const outcome = await clock.until(use()).catch((reason: unknown) => reason)
  if (outcome instanceof Error) mustBeOurs(outcome)
  // For T=1 and for APDUs: executed at most once. A mutated ATR may split one command into several TPDUs.
  const isOwn = sameBytes(atr, setting.atr)
  if (!fuzzed.hasLied && isOwn && setting.command === echo)
    must(fuzzed.executed <= 1, `The card executed the command ${fuzzed.executed} times.`)
  must(fuzzed.sent < 1500, `The driver sent ${fuzzed.sent} messages.`)
  fuzzed.mutations = []
  if (atr !== setting.atr) return
  const healthy = (): Promise<Uint8Array> => clock.until(use())
  // The first attempt may report an interrupt message, or a connection that was lost unnoticed.
  const again = await healthy().catch((reason: unknown) => {
    mustBeOurs(reason)
    return healthy()
  })
  must(sameBytes(again, answerOf(setting.command)), `A healthy reader answers ${again.join(' ')}.`)
}

// Most errors are expected here, and their stacks take a third of the time.
const { stackTraceLimit } = Error
beforeAll(async () => {
  Error.stackTraceLimit = 0
  // The modules are loaded on demand with the first TPDU reader.
  await Promise.all([import('../src/tpdu/activate.ts'), import('../src/tpdu/character-line.ts')])
})
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit
  const total = [...counted.values()].reduce((sum, count) => sum + count, 0)
  console.log(
    `seed ${seed}: ${total} cases (${[...counted].map(([name, count]) => `${count} ${name}`).join(', ')})`,
  )
})

describe('a reader that sends arbitrary messages', () => {
  it.each(Object.entries(settings))(
    'to a driver of %s causes only typed errors and no repetition, and works when it is correct again',
    async (_, setting) => {
      await fc.assert(
        fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 10 }), (mutations) =>
          session(setting, mutations),
        ),
        parameters('sessions', 6000),
      )
    },
    TIMEOUT_MS,
  )

  it(
    'with a card of any ATR causes only typed errors',
    async () => {
      const ends = [BOTH_ATR, T1_ATR, T0_ATR, hex('3f c0 ff 81 71 80 75 01 3b'), hex('3b 90 96 11 81 96')]
      const atr = fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc
          .tuple(fc.constantFrom(...ends), fc.nat(12), byte)
          .map(([whole, at, value]) => whole.map((each, index) => (index === at ? value : each))),
      )
      const setting = fc.constantFrom(...Object.values(settings))
      await fc.assert(
        fc.asyncProperty(setting, atr, fc.array(mutation, { maxLength: 3 }), (each, bytes, mutations) =>
          session(each, mutations, bytes),
        ),
        parameters('ATRs through activation', 9000),
      )
    },
    TIMEOUT_MS,
  )

  it(
    'is decoded to a response, an interrupt message or a typed error',
    () => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc
          .uint8Array({ minLength: 3, maxLength: 10 })
          .map((rest) => Uint8Array.of(0x80, 0, 0, 0, 0, ...rest)),
      )
      fc.assert(
        fc.property(bytes, (message) => {
          for (const decode of [decodeResponse, decodeInterruptMessage]) {
            try {
              decode(message)
            } catch (reason) {
              mustBeOurs(reason)
            }
          }
        }),
        parameters('messages decoded', 5000),
      )
    },
    TIMEOUT_MS,
  )
})

describe('a card that sends arbitrary bytes', () => {
  it(
    'in T=1 blocks causes the exact response or a typed error, and the next exchange works',
    async () => {
      const scripted = fc.oneof(
        { weight: 3, arbitrary: fc.constant('honest' as const) },
        { weight: 1, arbitrary: fc.constant('silent' as const) },
        { weight: 1, arbitrary: fc.constant('garbled' as const) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }) },
        {
          weight: 3,
          arbitrary: fc.tuple(pcb, fc.uint8Array({ maxLength: 2 })).map(([code, rest]) => frame(code, rest)),
        },
        {
          weight: 1,
          arbitrary: fc.tuple(byte, fc.uint8Array({ maxLength: 9 })).map(([code, rest]) => frame(code, rest)),
        },
      )
      const data = fc.uint8Array({ minLength: 1, maxLength: 80 })
      await fc.assert(
        fc.asyncProperty(fc.array(scripted, { maxLength: 30 }), data, async (script, bytes) => {
          const card = new PlainT1Card()
          const rest = [...script]
          let blocks = 0
          const transport = plainT1(async (block): Promise<BlockResponse> => {
            if (++blocks > 2000) throw new Error('The driver sends without an end.')
            const next = rest.shift() ?? 'honest'
            // The card receives what was sent; its response comes from the script.
            const received = card.respond(block)
            return next === 'honest' ? received : next
          })
          const command = Uint8Array.of(0, 0x10, 0, 0, bytes.length, ...bytes, 0)
          const outcome = await transport.transmit(command).catch((reason: unknown) => reason)
          must(card.executed <= 1, `The card executed the command ${card.executed} times.`)
          if (outcome instanceof Error) {
            mustBeOurs(outcome)
            if (!(outcome instanceof CardGarbledError)) return
          }
          rest.length = 0
          // If a mutation made the sequence numbers of the two sides differ, one more exchange corrects them.
          const next = (): Promise<Uint8Array> => transport.transmit(echo)
          const after = await next().catch(next)
          if (!(outcome instanceof Error)) return
          must(sameBytes(after, answerOf(echo)), `The next exchange brings ${after.join(' ')}.`)
        }),
        parameters('T=1 exchanges', 20_000),
      )
    },
    TIMEOUT_MS,
  )

  it(
    'in T=0 procedure bytes ends within the bytes that it owes, or one more request',
    () => {
      const part = fc.oneof(
        fc.uint8Array({ maxLength: 6 }),
        fc.constantFrom(hex('60'), hex('10'), hex('ef'), hex('9000'), hex('6103'), hex('10070809')),
      )
      fc.assert(
        fc.property(fc.array(part, { maxLength: 20 }), fc.nat(255), (parts, owed) => {
          let step = beginT0(hex('0010000003070809'), owed)
          for (const came of parts) {
            const { action } = step
            if (action.do !== 'send') break
            must(action.expects > 0 && action.expects <= 258, `${action.expects} bytes are asked for.`)
            step = stepT0(step.state, came)
          }
          if (step.action.do === 'finish')
            must(step.action.response.length <= owed + 2, 'More came than the card owed.')
        }),
        parameters('T=0 commands', 8000),
      )
    },
    TIMEOUT_MS,
  )
})

describe('descriptors', () => {
  const good = Object.values(readerProfiles).flatMap(
    (profile) => new VirtualCcidReader(profile).configurationDescriptors,
  )
  const changed = fc
    .tuple(fc.constantFrom(...good), fc.array(fc.tuple(fc.nat(130), byte), { maxLength: 6 }), fc.nat(130))
    .map(([whole, changes, end]) => {
      const bytes = whole.slice(0, end < 20 ? whole.length : Math.max(end, 9))
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      return bytes
    })

  it(
    'of any bytes give a plan that can be printed, or a typed error',
    () => {
      fc.assert(
        fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 })), byte, (bytes, productId) => {
          try {
            for (const each of findCcidInterfaces(bytes)) {
              const plan = planFor({ vendorId: 0x076b, productId, usbInterface: each })
              const { bytes: ifsdBytes = 1 } = plan.ifsd ?? {}
              must(ifsdBytes > 0 && ifsdBytes < 255, `The IFSD is ${ifsdBytes}.`)
              must(!describePlan(plan).join('').includes('undefined'), 'The plan has a hole.')
            }
          } catch (reason) {
            mustBeOurs(reason)
          }
        }),
        parameters('descriptors', 9000),
      )
    },
    TIMEOUT_MS,
  )

  it(
    'with any class descriptor are used without a hang',
    async () => {
      const odd = fc
        .tuple(
          fc.constantFrom(...Object.values(settings)),
          fc.record(
            {
              features: fc.nat(0xfffff),
              maxMessageBytes: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
              maxIfsdBytes: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
              maxBusySlots: byte,
              voltageSupport: byte,
              protocols: fc.nat(7),
              defaultClockKHz: fc.oneof(fc.nat(30_000), fc.nat(0xffff_ffff)),
              maxDataRateBps: fc.oneof(fc.nat(400_000), fc.nat(0xffff_ffff)),
              dataRateCount: byte,
            },
            { requiredKeys: [] },
          ),
        )
        .map(([setting, changes]) => ({ ...setting, descriptor: { ...setting.descriptor, ...changes } }))
      await fc.assert(
        fc.asyncProperty(odd, fc.array(mutation, { maxLength: 2 }), (setting, mutations) =>
          // Uses an unmutated ATR: what such a reader does with another card is not tested here.
          session(setting, mutations, setting.atr.slice()),
        ),
        parameters('class descriptors driven', 3000),
      )
    },
    TIMEOUT_MS,
  )
})
