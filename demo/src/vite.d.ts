/** Types the module that Vite creates for the URL of a worker. */
declare module '*?worker&url' {
  const url: string
  export default url
}
