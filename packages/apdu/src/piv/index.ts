/** Entry point for PIV (SP 800-73-4): the applet, its data objects and its constants. */
export * from './applet.ts'
export * from './application.ts'
export * from './constants.ts'
export * from './objects.ts'
