/** A virtual card with an OpenPGP applet only (OpenPGP card application 3.4). */
import { AppletCard } from '../applet-card.ts'
import { atrWithHistoricalBytes } from '../iso7816/answer-to-reset.ts'
import { OpenPgpApplet } from './applet.ts'
import type { OpenPgpKeyUse } from './keys.ts'
import { historicalBytes } from './objects.ts'
import type { OpenPgpCardOptions } from './options.ts'

/** An `AppletCard` with the properties of its `OpenPgpApplet`. */
export class OpenPgpCard extends AppletCard {
  readonly #applet: OpenPgpApplet

  constructor(options: OpenPgpCardOptions = {}) {
    const applet = new OpenPgpApplet(options)
    super({
      ...options,
      applets: [applet],
      // The ATR has the same historical bytes as DO 5F52 (6.1).
      atr:
        options.atr ??
        atrWithHistoricalBytes(options.protocols ?? 'T=1', [
          ...historicalBytes(options.extendedLength ?? true),
        ]),
      ...(options.isDefaultSelected && { defaultApplet: applet }),
    })
    this.#applet = applet
  }

  /** Attempts left for PW1. References 81 and 82 share them. */
  get pinTriesLeft(): number {
    return this.#applet.pinTriesLeft
  }

  /** Attempts left for PW3. */
  get adminPinTriesLeft(): number {
    return this.#applet.adminPinTriesLeft
  }

  /** The references that are verified, in ascending order. */
  get verified(): readonly ('81' | '82' | '83')[] {
    return this.#applet.verified
  }

  /** Number of signatures that the signature key has made. */
  get signatureCount(): number {
    return this.#applet.signatureCount
  }

  /**
   * The public key as SubjectPublicKeyInfo in DER, or undefined if the card does not have the key. For checks by other
   * software.
   */
  publicKeyOf(use: OpenPgpKeyUse): Uint8Array | undefined {
    return this.#applet.publicKeyOf(use)
  }
}
