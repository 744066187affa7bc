/** `npm run bench`: prints the results and writes bench/results.json. Fails if a scenario exceeds its limit. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Counts, Level } from './counted-card.ts'
import { bundleSize, entries } from './bundle-size.ts'
import { demoPage } from './demo-page.ts'
import { digestThroughput } from './digest-throughput.ts'
import { sessionThroughput } from './session-throughput.ts'
import { driverTime, exchanges } from './driver-time.ts'
import { manySigners } from './many-signers.ts'
import { scenarios } from './scenarios.ts'
import { sideBySide } from './side-by-side.ts'
import { type BlockCounts, tpduByLibccid, tpduByUs, tpduScenarios } from './tpdu-scenarios.ts'

const levels: readonly Level[] = ['short', 'extended']
const results: Record<string, { readonly ours: Counts; readonly judge?: Counts & { program: string } }> = {}
let exceeded = 0

row('scenario', 'APDUs', 'limit', 'bytes to', 'bytes from', 'transfers', 'other middleware (short APDUs)')
for (const scenario of scenarios) {
  for (const level of levels) {
    const ours = await scenario.run(level)
    const limit = scenario.atMost[level]
    if (ours.apdus > limit) exceeded++
    const name = `${scenario.name}-${level}`
    results[name] = { ours }
    const { apdus, bytesToCard, bytesFromCard, usbTransfers } = ours
    row(name, apdus, limit, bytesToCard, bytesFromCard, usbTransfers, scenario.established)
  }
}

console.log('')
row('TPDU readers', 'XfrBlocks', 'APDUs', 'bytes to', 'bytes from', 'transfers', 'certificate, VERIFY, P-256')
for (const scenario of tpduScenarios) {
  const ours = await tpduByUs(scenario)
  const judge = await tpduByLibccid(scenario)
  results[scenario.name] = judge === undefined ? { ours } : { ours, judge }
  blocksRow(scenario.name, ours, `at least ${scenario.fewer} XfrBlocks fewer`)
  if (judge === undefined) console.log('  comparison skipped: it needs root, pcscd, libccid and gcc')
  else {
    blocksRow('  compared with', judge, judge.program)
    if (ours.xfrBlocks > judge.xfrBlocks - scenario.fewer) exceeded++
  }
}

const microseconds: Record<string, number> = {}
const ratios: Record<string, number> = {}
console.log('')
for (const each of exchanges) {
  const { microsecondsPerApdu, microsecondsPerRoundTrip } = await driverTime(each)
  microseconds[each] = round(microsecondsPerApdu)
  ratios[each] = round(microsecondsPerApdu / microsecondsPerRoundTrip)
  console.log(
    `driver time per APDU, ${each}: ${microseconds[each]} µs, ` +
      `${ratios[each]} times a bare OUT + IN round trip (${round(microsecondsPerRoundTrip)} µs)`,
  )
}

console.log('')
const throughput = await digestThroughput()
const digestRatio = round(throughput.documents / throughput.hashWasm)
console.log(
  `SHA-256 of 256 MB: documents ${Math.round(throughput.documents)} MB/s, hash-wasm alone ` +
    `${Math.round(throughput.hashWasm)} MB/s (ratio ${digestRatio}), node:crypto ${Math.round(throughput.nodeCrypto)} MB/s`,
)

const sessions = await sessionThroughput()
const sessionRatios = {
  digestToHashWasm: round(sessions.digest / sessions.hashWasm),
  ctrToWebCrypto: round(sessions.ctr / sessions.webCrypto),
}
console.log(
  `session: SHA-256 ${Math.round(sessions.digest)} MB/s (${sessionRatios.digestToHashWasm} of hash-wasm alone), AES-CTR ` +
    `${Math.round(sessions.ctr)} MB/s (${sessionRatios.ctrToWebCrypto} of a single WebCrypto call)`,
)
console.log(
  `session: AES-CTR of 2 GB to a slow writer: ${sessions.queuedChunks} chunks queued, ${sessions.memoryMegabytes} MB more ` +
    `memory, longest task ${Math.round(sessions.longestTaskMs)} ms (goals: 16, constant, 50)`,
)

const verification = await manySigners()
console.log(
  `80 signers, 50 certificates: verified in ${Math.round(verification.milliseconds)} ms, ` +
    `longest task ${Math.round(verification.longestTaskMs)} ms (goals: below 300 and 50)`,
)

const gzipBytes: Record<string, number> = {}
for (const name of ['login', 'signing'] as const) {
  const size = await bundleSize(entries[name])
  gzipBytes[name] = size.gzipBytes
  gzipBytes[`${name}WithPiv`] = size.gzipBytesWithPiv
}
const driverAlone = await bundleSize(entries.ccid, [/^@webtoki\/apdu/])
gzipBytes['ccid'] = driverAlone.gzipBytes
console.log(
  `gzip without rxjs: login ${gzipBytes['login']} bytes, ${gzipBytes['loginWithPiv']} with a PIV card; ` +
    `signing ${gzipBytes['signing']} bytes, ${gzipBytes['signingWithPiv']} with a PIV card`,
)
console.log(
  `gzip: ccid alone ${driverAlone.gzipBytes} bytes, ${driverAlone.gzipBytesInAll} with the code for certain readers`,
)

const page = await demoPage()
if (page === undefined)
  console.log('demo: skipped, because /usr/bin/chromium is missing or the demo is not built')
else {
  console.log(
    `demo: ready after ${Math.round(page.readyMs)} ms (warm); a file of 1 GB signed and verified in ${page.gigabyteMs} ms, ` +
      `${page.memoryMegabytes} MB above idle, longest task ${page.longestTaskMs} ms (0: none over 50)`,
  )
}

const both = await sideBySide()
if (both === undefined) console.log('comparison with OpenSC: skipped, because /usr/bin/chromium is missing')
else {
  const { ours, judge } = both
  console.log('')
  row('100 P-256 signatures', 'APDUs', 'transfers', 'ms', 'same reader, same card, same bus')
  row('  Webtoki', ours.apdus, ours.usbTransfers, Math.round(ours.milliseconds), 'in Chromium')
  if (judge === undefined) console.log('  comparison skipped: it needs root, pcscd, libccid, OpenSC and gcc')
  else row('  compared with', judge.apdus, judge.usbTransfers, Math.round(judge.milliseconds), judge.program)
  console.log(
    `an APDU through Chromium’s WebUSB: ${both.apduMilliseconds} ms by the driver, ${both.bareMilliseconds} ms without it`,
  )
}

const file = fileURLToPath(new URL('../results.json', import.meta.url))
const json = {
  scenarios: results,
  driverMicrosecondsPerApdu: microseconds,
  driverRatioToBareRoundTrip: ratios,
  digestRatioToHashWasm: digestRatio,
  sessionThroughput: {
    ...sessionRatios,
    longestTaskMs: Math.round(sessions.longestTaskMs),
    queuedChunks: sessions.queuedChunks,
    memoryMegabytes: sessions.memoryMegabytes,
  },
  manySigners: verification,
  gzipBytes,
  ...(both === undefined ? {} : { sideBySide: both }),
  ...(page === undefined ? {} : { demoReadyMs: Math.round(page.readyMs), demoPage: page }),
}
await writeFile(file, `${JSON.stringify(json, undefined, 2)}\n`)
console.log(`\nbench/results.json written`)
if (exceeded > 0) {
  console.log(`${exceeded} scenarios exceed their limit`)
  process.exitCode = 1
}

function row(name: string, ...cells: readonly (string | number)[]): void {
  const numbers = cells.slice(0, -1).map((cell) => String(cell).padStart(11))
  console.log(`${name.padEnd(28)}${numbers.join('')}   ${cells.at(-1)}`)
}

function blocksRow(name: string, counts: BlockCounts, note: string): void {
  const { xfrBlocks, apdus, bytesToCard, bytesFromCard, usbTransfers } = counts
  row(name, xfrBlocks, apdus, bytesToCard, bytesFromCard, usbTransfers, note)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
