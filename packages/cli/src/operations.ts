/** `webtoki operations`: all ordered pairs of the eight kinds of operation, played on live sessions of a virtual card. */
import { Cryptoki, CKR, CryptokiError, type SessionPolicy } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { parseOptions, readerOptions, UsageError } from './arguments.ts'
import { connect } from './connect.ts'
import { type Cell, kinds, makeExamples, playCell } from './operation-cells.ts'
import { presentSlots } from './present-slots.ts'

/** Prints the table of each dual flag, and what does not follow the standard. Resolves to the exit code. */
export async function operations(args: readonly string[], output: (line: string) => void): Promise<number> {
  const options = parseOptions(args, readerOptions)
  if (options.simulator === undefined)
    throw new UsageError(
      'operations signs more than a hundred times: it takes --simulator piv, and no real card.',
    )
  const simulated = { ...options, simulator: options.simulator }
  output(
    'rows are active, columns are begun then: + both are active, A CKR_OPERATION_ACTIVE, ! against the standard',
  )
  let following = 0
  for (const dual of [true, false]) {
    const cells = await playAll(simulated, dual)
    output('')
    for (const line of table(cells, dual)) output(line)
    following += cells.filter(({ complaint }) => complaint === undefined).length
  }
  output('')
  output(`${following} of ${2 * kinds.length ** 2} follow the standard`)
  return following === 2 * kinds.length ** 2 ? 0 : 1
}

/** The 64 cells of one setting of the dual flag. `policy` is for tests that want the library to differ. */
export async function playAll(
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
      for (const second of kinds) cells.push(await playCell(slot, [examples[first], examples[second]], dual))
    return cells
  } finally {
    await cryptoki.close()
  }
}

const width = Math.max(...kinds.map((kind) => kind.length))

function table(cells: readonly Cell[], dual: boolean): readonly string[] {
  const sign = ({ complaint, answer }: Cell): string => {
    if (complaint !== undefined) return '!'
    return answer === 'CKR_OK' ? '+' : 'A'
  }
  const rows = kinds.map((kind) => {
    const row = cells.filter(({ first }) => first === kind)
    return [kind.padEnd(width), ...row.map((cell) => sign(cell).padStart(cell.second.length))].join('  ')
  })
  const complaints = cells.flatMap(({ first, second, complaint }) =>
    complaint === undefined ? [] : [`${first}, then ${second}: ${complaint}`],
  )
  return [
    `CKF_DUAL_CRYPTO_OPERATIONS ${dual ? 'set' : 'clear'}`,
    [''.padEnd(width), ...kinds].join('  '),
    ...rows,
    ...complaints,
  ]
}
