/** PIV: the applet and its objects. */
export * from './applet.ts'
export * from './application.ts'
export * from './constants.ts'
export * from './objects.ts'
