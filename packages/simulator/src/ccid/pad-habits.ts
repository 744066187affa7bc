/** Deviations of PIN pad firmware from CCID 1.1, 6.1.11, as users of these readers found them. */

/** Deviations of a PIN pad. Without a member, the reader follows the standard. */
export interface PadHabits {
  /**
   * Operations that bPINSupport announces but the reader does not support. It responds to them with SlotStatus, as to
   * any unknown message.
   */
  readonly unknown?: readonly ('verify' | 'modify')[]
  /** The only bEntryValidationCondition that the reader accepts. */
  readonly validation?: number
  /** The only bNumberMessage that the reader accepts for a verification. */
  readonly verifyMessages?: number
  /** The only bNumberMessage that the reader accepts for a modification. */
  readonly modifyMessages?: number
  /** A modification always has three bMsgIndex fields, regardless of bNumberMessage. */
  readonly hasThreeIndices?: true
  /** The reader reads the two bytes of wPINMaxExtraDigit in reverse order. */
  readonly swapsDigits?: true
  /**
   * How long the key that ended an entry counts as pressed, in milliseconds. The reader rejects another entry during
   * this time.
   */
  readonly keyReleaseMs?: number
  /**
   * The Escape, in hex, that must directly precede the verification of a PIN without a PIN block. The command is then a
   * header of four bytes without Lc.
   */
  readonly escapeBeforeBareHeader?: string
}
