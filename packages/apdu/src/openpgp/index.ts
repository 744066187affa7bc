/** Entry point for the OpenPGP card (3.4): the applet and its data objects. */
export * from './applet.ts'
export * from './application-data.ts'
export * from './kdf.ts'
export * from './public-key.ts'
