/** A card whose one applet is PIV. */
import { AppletCard } from '../applet-card.ts'
import { PivApplet } from './applet.ts'
import type { PivSlot } from './objects.ts'
import type { PivCardOptions } from './options.ts'

/** An `AppletCard` that tells of its PIV applet what `PivApplet` does. */
export class PivCard extends AppletCard {
  readonly #applet: PivApplet

  constructor(options: PivCardOptions = {}) {
    const applet = new PivApplet(options)
    super({ ...options, applets: [applet], ...(options.isDefaultSelected && { defaultApplet: applet }) })
    this.#applet = applet
  }

  /** Tries that the PIN has left. */
  get pinTriesLeft(): number {
    return this.#applet.pinTriesLeft
  }

  /** Tries that the PUK has left. */
  get pukTriesLeft(): number {
    return this.#applet.pukTriesLeft
  }

  /** Whether the PIN is verified now: what a real logout takes back. */
  get pinVerified(): boolean {
    return this.#applet.pinVerified
  }

  /** The GUID in the CHUID as it is now; undefined if the CHUID was overwritten with something else. */
  get guid(): Uint8Array | undefined {
    return this.#applet.guid
  }

  /** Public key of a slot as SubjectPublicKeyInfo (DER), for judges; undefined if there is no key. */
  publicKeyOf(slot: PivSlot): Uint8Array | undefined {
    return this.#applet.publicKeyOf(slot)
  }

  /** Certificate of a slot (DER, uncompressed); undefined if there is none. */
  certificateOf(slot: PivSlot): Uint8Array | undefined {
    return this.#applet.certificateOf(slot)
  }
}
