/** PIV: the applet, its objects, and the padding that its raw operations need. */
export * from './applet.ts'
export * from './application.ts'
export * from './constants.ts'
export * from './objects.ts'
export * from './padding.ts'
