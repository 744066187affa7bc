/** Creates the virtual cards and readers that commands take by name. */
import {
  AppletCard,
  createEchoCard,
  createOpenPgpCard,
  createPivCard,
  openpgp,
  piv,
  readerProfiles,
  type VirtualCard,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { UsageError } from './arguments.ts'

const cards: Readonly<Record<string, () => VirtualCard>> = {
  piv: createPivCard,
  openpgp: createOpenPgpCard,
  multi: () => new AppletCard({ applets: [piv(), openpgp()] }),
  echo: createEchoCard,
}

/** Creates the virtual card with that name. Throws UsageError if there is none. */
export function cardNamed(name: string): VirtualCard {
  const make = Object.hasOwn(cards, name) ? cards[name] : undefined
  if (make === undefined)
    throw new UsageError(`Unknown virtual card '${name}'. Use one of ${Object.keys(cards).join(', ')}.`)
  return make()
}

/**
 * Creates the virtual reader that `READER` or `READER:CARD` names; the card 'none' leaves it empty. Throws UsageError for an
 * unknown reader or card.
 */
export function readerNamed(text: string, serialNumber: string): VirtualCcidReader {
  const [name = '', card = 'piv'] = text.split(':')
  if (!Object.hasOwn(readerProfiles, name)) {
    throw new UsageError(
      `Unknown virtual reader '${name}'. Use one of ${Object.keys(readerProfiles).join(', ')}.`,
    )
  }
  const reader = new VirtualCcidReader(readerProfiles[name as keyof typeof readerProfiles], { serialNumber })
  if (card !== 'none') reader.insert(cardNamed(card))
  return reader
}

/** Resolves when the process receives SIGINT or SIGTERM. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
