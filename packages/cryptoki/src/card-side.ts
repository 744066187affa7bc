/** What is loaded when the first card is connected. */
export { InsertedCard } from './inserted-card.ts'
export { toCryptokiError } from './rv.ts'
export { Session } from './session.ts'
