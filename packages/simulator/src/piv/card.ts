/** A virtual card with a PIV applet only (NIST SP 800-73-4). */
import { AppletCard } from '../applet-card.ts'
import { PivApplet } from './applet.ts'
import type { PivSlot } from './objects.ts'
import type { PivCardOptions } from './options.ts'

/** An `AppletCard` with the properties of its `PivApplet`. */
export class PivCard extends AppletCard {
  readonly #applet: PivApplet

  constructor(options: PivCardOptions = {}) {
    const applet = new PivApplet(options)
    super({ ...options, applets: [applet], ...(options.isDefaultSelected && { defaultApplet: applet }) })
    this.#applet = applet
  }

  /** Attempts left for the PIN. */
  get pinTriesLeft(): number {
    return this.#applet.pinTriesLeft
  }

  /** Attempts left for the PUK. */
  get pukTriesLeft(): number {
    return this.#applet.pukTriesLeft
  }

  /** True if the PIN is verified. A logout must reset it. */
  get pinVerified(): boolean {
    return this.#applet.pinVerified
  }

  /** The GUID in the current CHUID, or undefined if the CHUID was overwritten with something else. */
  get guid(): Uint8Array | undefined {
    return this.#applet.guid
  }

  /**
   * The public key of a slot as SubjectPublicKeyInfo in DER, or undefined if the slot has no key. For checks by other
   * software.
   */
  publicKeyOf(slot: PivSlot): Uint8Array | undefined {
    return this.#applet.publicKeyOf(slot)
  }

  /** The uncompressed certificate of a slot in DER, or undefined if the slot has none. */
  certificateOf(slot: PivSlot): Uint8Array | undefined {
    return this.#applet.certificateOf(slot)
  }
}
