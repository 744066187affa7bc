/** A card whose one applet is OpenPGP. */
import { AppletCard } from '../applet-card.ts'
import { atrWithHistoricalBytes } from '../iso7816/answer-to-reset.ts'
import { OpenPgpApplet } from './applet.ts'
import type { OpenPgpKeyUse } from './keys.ts'
import { historicalBytes } from './objects.ts'
import type { OpenPgpCardOptions } from './options.ts'

/** An `AppletCard` that tells of its OpenPGP applet what `OpenPgpApplet` does. */
export class OpenPgpCard extends AppletCard {
  readonly #applet: OpenPgpApplet

  constructor(options: OpenPgpCardOptions = {}) {
    const applet = new OpenPgpApplet(options)
    super({
      ...options,
      applets: [applet],
      // The ATR carries the same historical bytes as DO 5F52 (6.1).
      atr:
        options.atr ??
        atrWithHistoricalBytes(options.protocols ?? 'T=1', [
          ...historicalBytes(options.extendedLength ?? true),
        ]),
      ...(options.isDefaultSelected && { defaultApplet: applet }),
    })
    this.#applet = applet
  }

  /** Tries that PW1 has left, which 81 and 82 share. */
  get pinTriesLeft(): number {
    return this.#applet.pinTriesLeft
  }

  /** Tries that PW3 has left. */
  get adminPinTriesLeft(): number {
    return this.#applet.adminPinTriesLeft
  }

  /** Which of the three references are verified now. */
  get verified(): readonly ('81' | '82' | '83')[] {
    return this.#applet.verified
  }

  /** Signatures that the signature key has made. */
  get signatureCount(): number {
    return this.#applet.signatureCount
  }

  /** Public key as SubjectPublicKeyInfo (DER), for judges; undefined if there is no key. */
  publicKeyOf(use: OpenPgpKeyUse): Uint8Array | undefined {
    return this.#applet.publicKeyOf(use)
  }
}
