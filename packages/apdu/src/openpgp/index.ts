/** The OpenPGP card: the applet, and what its objects tell. */
export * from './applet.ts'
export * from './application-data.ts'
export * from './kdf.ts'
export * from './public-key.ts'
