/** `webtoki readers`: each reader with what is in it. */
import type { Presence } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { parseOptions, readerOptions } from './arguments.ts'
import { connect } from './connect.ts'

/** Prints one line a reader: name, kind, presence, id. */
export async function readers(args: readonly string[], output: (line: string) => void): Promise<void> {
  const { source } = await connect(parseOptions(args, readerOptions))
  try {
    const slots = await firstValueFrom(source.slots$)
    if (slots.length === 0) output('No reader found.')
    for (const slot of slots) {
      const presence = await firstValueFrom(slot.presence$)
      output(`${slot.name} · ${slot.kind} · ${presenceInWords(presence)} · ${slot.id}`)
    }
  } finally {
    await source.close()
  }
}

function presenceInWords(presence: Presence): string {
  if (typeof presence === 'object') return 'in use elsewhere'
  return { empty: 'no card', present: 'card present', unreadable: 'card does not answer' }[presence]
}
