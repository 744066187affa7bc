/** Remembers which cards have few PIN attempts left (CKF_USER_PIN_COUNT_LOW). */

/** CKF_USER_PIN_COUNT_LOW is set at this number of attempts left or fewer. */
export const FEW_TRIES = 2

/** The ids of cards that last reported few attempts left. A driver keeps them for its lifetime. */
export class LowCards {
  readonly #ids = new Set<string>()

  /** Records the attempts left of a card. `id` is undefined if the card cannot be recognised later. */
  note(id: string | undefined, triesLeft: number): void {
    if (id === undefined) return
    if (triesLeft > FEW_TRIES) this.#ids.delete(id)
    else this.#ids.add(id)
  }

  has(id: string | undefined): boolean {
    return id !== undefined && this.#ids.has(id)
  }
}
