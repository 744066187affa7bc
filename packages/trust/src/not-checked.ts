/** Said where nobody is asked about trust or revocation: it can be chosen, and not forgotten. */
export const notChecked: unique symbol = Symbol('not checked')
