/** What Vite makes of a worker's address. */
declare module '*?worker&url' {
  const url: string
  export default url
}
