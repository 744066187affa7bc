/** Cards that are down to few attempts. */

/** From here down a person should take care (CKF_USER_PIN_COUNT_LOW). */
export const FEW_TRIES = 2

/** Remembers by their identity the cards that told few attempts when they were last asked, for as long as a driver lives. */
export class LowCards {
  readonly #ids = new Set<string>()

  /** `id`: undefined if the card cannot be known again. */
  note(id: string | undefined, triesLeft: number): void {
    if (id === undefined) return
    if (triesLeft > FEW_TRIES) this.#ids.delete(id)
    else this.#ids.add(id)
  }

  has(id: string | undefined): boolean {
    return id !== undefined && this.#ids.has(id)
  }
}
