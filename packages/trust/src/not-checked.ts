/** Value of a required option that turns a check of trust or revocation off, so that omitting the check is explicit. */
export const notChecked: unique symbol = Symbol('not checked')
