/** `webtoki operations`: runs all ordered pairs of the eight kinds of operation on sessions of a virtual card. */
import { Cryptoki, CKR, CryptokiError, type SessionPolicy } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { parseOptions, readerOptions, UsageError } from './arguments.ts'
import { connect } from './connect.ts'
import { type Cell, kinds, makeExamples, runCell } from './operation-cells.ts'
import { presentSlots } from './present-slots.ts'

/** Prints one table for each setting of the dual flag, and each violation of the standard. Resolves to the exit code. */
export async function operations(args: readonly string[], output: (line: string) => void): Promise<number> {
  const options = parseOptions(args, readerOptions)
  if (options.simulator === undefined)
    throw new UsageError(
      'operations signs more than a hundred times, so it does not run on real cards. Use --simulator piv.',
    )
  const simulated = { ...options, simulator: options.simulator }
  output(
    'row: the active operation, column: the one started next; + both active, A CKR_OPERATION_ACTIVE, ! violates the standard',
  )
  let conforming = 0
  for (const dual of [true, false]) {
    const cells = await runAllCells(simulated, dual)
    output('')
    for (const line of table(cells, dual)) output(line)
    conforming += cells.filter(({ violation }) => violation === undefined).length
  }
  output('')
  output(`${conforming} of ${2 * kinds.length ** 2} follow the standard`)
  return conforming === 2 * kinds.length ** 2 ? 0 : 1
}

/** Runs the 64 cells of one setting of the dual flag. `policy` lets tests check a library that violates the standard. */
export async function runAllCells(
  options: { readonly simulator: string; readonly 'simulator-reader'?: string | undefined },
  dual: boolean,
  policy: Partial<SessionPolicy> = {},
): Promise<readonly Cell[]> {
  const { source, simulatedPin } = await connect(options)
  const cryptoki = new Cryptoki({
    sources: [source],
    drivers: [pivDriver()],
    dualOperations: dual,
    ...policy,
  })
  try {
    const [slot] = await presentSlots(cryptoki)
    if (slot === undefined) throw new CryptokiError(CKR.TOKEN_NOT_PRESENT)
    const session = await slot.openSession({
      pin: async () => ({ pin: new TextEncoder().encode(simulatedPin) }),
    })
    const examples = await makeExamples(session)
    const cells: Cell[] = []
    for (const first of kinds)
      for (const second of kinds) cells.push(await runCell(slot, [examples[first], examples[second]], dual))
    return cells
  } finally {
    await cryptoki.close()
  }
}

const width = Math.max(...kinds.map((kind) => kind.length))

function table(cells: readonly Cell[], dual: boolean): readonly string[] {
  const symbol = ({ violation, initResult }: Cell): string => {
    if (violation !== undefined) return '!'
    return initResult === 'CKR_OK' ? '+' : 'A'
  }
  const rows = kinds.map((kind) => {
    const row = cells.filter(({ first }) => first === kind)
    return [kind.padEnd(width), ...row.map((cell) => symbol(cell).padStart(cell.second.length))].join('  ')
  })
  const violations = cells.flatMap(({ first, second, violation }) =>
    violation === undefined ? [] : [`${first}, then ${second}: ${violation}`],
  )
  return [
    `CKF_DUAL_CRYPTO_OPERATIONS ${dual ? 'set' : 'clear'}`,
    [''.padEnd(width), ...kinds].join('  '),
    ...rows,
    ...violations,
  ]
}
