/** `webtoki readers`: lists each reader, whether a card is in it, and why a reader cannot be used. */
import { NoReaderError, type Presence } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { parseOptions, readerOptions } from './arguments.ts'
import { connect, hintFor, reportProblems } from './connect.ts'

/** Prints one line for each reader: name, kind, presence, id. Resolves to 1 if no reader can be used. */
export async function readers(
  args: readonly string[],
  output: (line: string) => void,
  complain: (line: string) => void,
): Promise<number> {
  const connected = await connect(parseOptions(args, readerOptions))
  const { source } = connected
  try {
    const slots = await firstValueFrom(source.slots$)
    for (const slot of slots) {
      const presence = await firstValueFrom(slot.presence$)
      output(`${slot.name} · ${slot.kind} · ${describePresence(presence)} · ${slot.id}`)
      if (typeof presence === 'object') complain(`${slot.name}: ${hintFor('reader/in-use')}`)
    }
    const hasProblems = await reportProblems(connected, complain)
    if (slots.length > 0) return 0
    if (!hasProblems) complain(`${new NoReaderError().message} ${hintFor('reader/none')}`)
    return 1
  } finally {
    await source.close()
  }
}

function describePresence(presence: Presence): string {
  if (typeof presence === 'object') return 'used by another program'
  return { empty: 'no card', present: 'card present', unreadable: 'card does not respond' }[presence]
}
