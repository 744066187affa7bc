/** The demo's page: connects a reader, logs in, signs a document and shows the activity. */
import {
  defineElements,
  explain,
  plainName,
  strings,
  type WebtokiCertificates,
  type WebtokiPin,
  type WebtokiProgress,
  type WebtokiReaders,
} from '@webtoki/ui'
import { combineLatest, firstValueFrom, map, of, skip, switchMap } from 'rxjs'
import { type Activity, type CardCertificate, type Slot, Webtoki } from 'webtoki'
import { keepForOffline } from './offline.ts'
import './page-parts.ts'
import { post, type Identity, isReachable$, UnreachableError, currentIdentity } from './site.ts'
import type { VirtualHardware } from './virtual.ts'

function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`The page has no element ${id}.`)
  return found as T
}

defineElements()
const pin = byId<WebtokiPin>('pin')
const readers = byId<WebtokiReaders>('readers')
const loginCertificates = byId<WebtokiCertificates>('login-certificates')
const signCertificates = byId<WebtokiCertificates>('sign-certificates')
const loginProgress = byId<WebtokiProgress>('login-progress')
const signProgress = byId<WebtokiProgress>('sign-progress')
const logIn = byId<HTMLButtonElement>('log-in')
const sign = byId<HTMLButtonElement>('sign')
const file = byId<HTMLInputElement>('file')
const drop = byId('drop')
const note = byId('reader-note')

let webtoki: Webtoki | undefined
let hardware: VirtualHardware | undefined
let chosen: File | undefined
let hasCard = false
const isBusy = { login: false, sign: false }

/** Moves the focus to the first of these elements that takes it, if the focused element was hidden or disabled. */
function settleFocus(...places: readonly HTMLElement[]): void {
  for (const place of places) {
    const focused = document.activeElement
    const hasFocus = focused !== null && focused !== document.body && focused.checkVisibility()
    if (hasFocus && !focused.matches(':disabled')) return
    place.focus({ preventScroll: true })
  }
}

/* 1 Reader */

byId('use-virtual').addEventListener('click', () => void chooseReader(useVirtual))
byId('use-real').addEventListener('click', () => void chooseReader(useReal))

let isChoosing = false
/** Ignores a second click while the first is handled, which would open the reader twice. */
async function chooseReader(work: () => Promise<void>): Promise<void> {
  if (isChoosing || webtoki !== undefined) return
  isChoosing = true
  try {
    await work()
  } catch (error) {
    showNote(explain(error))
  } finally {
    isChoosing = false
  }
}

async function useVirtual(): Promise<void> {
  const { VirtualHardware } = await import('./virtual.ts')
  hardware = new VirtualHardware()
  byId('bench').hidden = false
  readers.setAttribute('no-connect', '')
  start(new Webtoki({ pin: pin.ask, usb: hardware.usb }))
  hardware.card.onTouchRequired = (isRequired) => {
    byId('touch-now').hidden = !isRequired
    if (!isRequired) settleFocus(byId('card-toggle'))
    if (isRequired)
      for (const progress of [loginProgress, signProgress])
        if (isWaiting(progress)) progress.phase('awaiting-touch')
  }
  hardware.onPinRequested = (isRequired) => {
    byId('pad-keys').hidden = !isRequired
    if (!isRequired) settleFocus(byId('card-toggle'))
  }
  showHardware()
}

function isWaiting(progress: WebtokiProgress): boolean {
  return progress === loginProgress ? isBusy.login : isBusy.sign
}

async function useReal(): Promise<void> {
  const real = new Webtoki({ pin: pin.ask })
  const { support } = real
  if (support !== 'available') {
    showNote(strings().errors[`reader/unreachable/${support}`])
    return
  }
  try {
    // A reader that the person has already allowed needs no second permission.
    const slots = await firstValueFrom(real.slots$)
    const problems = await firstValueFrom(real.problems$)
    if (slots.length + problems.length === 0 && !(await real.requestReader())) {
      showNote('No reader was chosen. Try again, or use the virtual reader.')
      await real.close()
      return
    }
  } catch (error) {
    showNote(explain(error))
    await real.close()
    return
  }
  start(real)
}

function showNote(sentence: string): void {
  note.hidden = false
  note.textContent = sentence
}

function start(started: Webtoki): void {
  webtoki = started
  note.hidden = true
  byId('choose').hidden = true
  readers.hidden = false
  settleFocus(byId('reader-title'))
  readers.webtoki = started
  started.activity$.subscribe(showActivity)
  started.slots$
    .pipe(
      switchMap((slots) =>
        slots.length === 0
          ? of([])
          : combineLatest(slots.map((slot) => slot.presence$.pipe(map((presence) => ({ slot, presence }))))),
      ),
    )
    .subscribe((states) => {
      const present = states.filter(({ presence }) => presence === 'present').map(({ slot }) => slot)
      hasCard = present.length > 0
      forgetRemoved(present)
      void refresh()
    })
  addEventListener('pagehide', () => void started.logOut())
}

/** Removes the certificates of removed cards at once: reading the cards again takes a while, and nobody should choose one meanwhile. */
function forgetRemoved(present: readonly Slot[]): void {
  for (const element of [loginCertificates, signCertificates]) {
    const remaining = element.certificates.filter(({ slot }) => present.includes(slot))
    if (remaining.length < element.certificates.length) element.certificates = remaining
  }
  showButtons()
}

let refreshing = 0
let reading = 0
async function refresh(): Promise<void> {
  const turn = ++refreshing
  let [login, signing]: (readonly CardCertificate[])[] = [[], []]
  let failure: unknown
  reading++
  try {
    login = (await webtoki?.certificates('login')) ?? []
    signing = (await webtoki?.certificates('signing')) ?? []
  } catch (error) {
    // If the card was removed meanwhile, the next presence event reads it again.
    failure = error
  } finally {
    reading--
  }
  // A later call has started. It shows the certificates, but the call that ends last has to show the card's status.
  if (turn !== refreshing) return showHardware()
  loginCertificates.certificates = login ?? []
  signCertificates.certificates = signing ?? []
  const isUnread = hasCard && failure !== undefined
  loginCertificates.hidden = signCertificates.hidden = !hasCard || isUnread
  if (isUnread) showNote(explain(failure))
  else note.hidden = true
  showButtons()
  showHardware()
}

function showButtons(): void {
  // The button of a running operation stays enabled, because a disabled one would lose the focus. Its handler ignores clicks.
  logIn.ariaDisabled = String(isBusy.login)
  sign.ariaDisabled = String(isBusy.sign)
  const focused = document.activeElement
  logIn.disabled = !isBusy.login && loginCertificates.value === undefined
  sign.disabled = !isBusy.sign && (signCertificates.value === undefined || chosen === undefined)
  if (focused === logIn) settleFocus(byId('login-title'))
  if (focused === sign) settleFocus(byId('sign-title'))
}

/* The virtual hardware */

byId('card-toggle').addEventListener('click', () => {
  hardware?.toggleCard()
  showHardware()
})
byId('reader-toggle').addEventListener('click', () => {
  hardware?.toggleReader()
  showHardware()
})
byId<HTMLInputElement>('slow').addEventListener('change', ({ target }) => {
  if (hardware !== undefined) hardware.card.isSlow = (target as HTMLInputElement).checked
})
byId<HTMLInputElement>('touch').addEventListener('change', ({ target }) => {
  if (hardware !== undefined) hardware.card.requiresTouch = (target as HTMLInputElement).checked
})
byId('touch-now').addEventListener('click', () => hardware?.card.touch())
byId<HTMLInputElement>('pad').addEventListener('change', ({ target }) => {
  hardware?.usePinPad((target as HTMLInputElement).checked)
  showHardware()
})
byId('pad-pin').addEventListener('click', () => hardware?.press('pin'))
byId('pad-cancel').addEventListener('click', () => hardware?.press('cancel'))

function showHardware(): void {
  if (hardware === undefined) return
  byId('card-toggle').textContent = hardware.isCardIn ? 'Remove the card' : 'Insert the card'
  byId('reader-toggle').textContent = hardware.isPlugged ? 'Unplug the reader' : 'Plug in the reader'
  void showCardState()
}

/** Does nothing during an operation. A command between VERIFY and the signature, or before GET RESPONSE, would break it. */
async function showCardState(): Promise<void> {
  if (hardware === undefined || isBusy.login || isBusy.sign || reading > 0) return
  const status = hardware.isCardIn ? await hardware.state() : 'No card in the reader.'
  if (status !== undefined) byId('card-state').textContent = status
}

/* 2 Log in */

logIn.addEventListener('click', () => void runLogin())
byId('log-out').addEventListener('click', () => void runLogOut())

async function runLogin(): Promise<void> {
  const certificate = loginCertificates.value
  if (webtoki === undefined || certificate === undefined || isBusy.login) return
  isBusy.login = true
  showsUnreachable = false
  showButtons()
  try {
    const { nonce } = await post<{ nonce: string }>('/api/nonce')
    const token = await webtoki.login(nonce, { certificate, onPhase: (phase) => loginProgress.phase(phase) })
    loginProgress.say('The site is checking your login', true)
    const { identity } = await post<{ identity: Identity }>('/api/login', {
      headers: { 'content-type': 'application/json' },
      body: token,
    })
    showIdentity(identity)
    loginProgress.say('You are logged in')
  } catch (error) {
    showsUnreachable = error instanceof UnreachableError
    loginProgress.fail(error)
  } finally {
    isBusy.login = false
    showButtons()
    showHardware()
    settleFocus(logIn, byId('login-title'))
  }
}

function showIdentity(identity: Identity): void {
  byId('who').hidden = false
  byId('who-name').textContent = plainName(identity['name'] ?? '')
  showFacts(byId('identity'), [
    ['Name', identity['name'] ?? '', ''],
    ['Issued by', identity['issuer'] ?? '', ''],
    ['Fingerprint', (identity['certificate'] ?? '').slice(0, 16), ''],
  ])
}

function showLoggedOut(): void {
  if (byId('who').hidden) return
  byId('who').hidden = byId('identity').hidden = true
  settleFocus(logIn, byId('login-title'))
}

async function runLogOut(): Promise<void> {
  // In parallel, because the card may be busy and the site may not respond.
  const [card, site] = await Promise.allSettled([webtoki?.logOut(), post('/api/logout')])
  showsUnreachable = site.status === 'rejected' && site.reason instanceof UnreachableError
  if (site.status === 'rejected') {
    const isCardOut = card.status === 'fulfilled' && webtoki !== undefined
    loginProgress.say(
      `${isCardOut ? 'Your card is logged out, but you' : 'You'} are still logged in at the site. ${(site.reason as Error).message}`,
      false,
    )
  } else {
    showLoggedOut()
    if (card.status === 'rejected') loginProgress.fail(card.reason)
    else
      loginProgress.say(
        webtoki === undefined ? 'You are logged out' : 'You are logged out, and your card is logged out too',
      )
  }
  showHardware()
}

/** Shows who is logged in at the site, which does not change when the page is reloaded or shown again. */
async function showCurrentIdentity(): Promise<void> {
  const identity = await currentIdentity()
  if (isBusy.login) return
  if (identity === null) showLoggedOut()
  else showIdentity(identity)
}
addEventListener('pageshow', () => void showCurrentIdentity().catch(() => {}))

/** True if the login's progress shows that the site cannot be reached. */
let showsUnreachable = false
isReachable$.pipe(skip(1)).subscribe((isReachable) => {
  byId('unreachable').hidden = isReachable
  if (!isReachable) return
  if (showsUnreachable) loginProgress.clear()
  void showCurrentIdentity().catch(() => {})
})

/* 3 Sign */

file.addEventListener('change', () => choose(file.files?.[0]))
// Without this, choosing the same file again is not a change event, although the file may have changed.
file.addEventListener('click', () => {
  file.value = ''
})
for (const type of ['dragenter', 'dragover'] as const) {
  drop.addEventListener(type, (event) => {
    event.preventDefault()
    drop.classList.add('over')
  })
}
// A file that is dropped outside the drop area would otherwise replace the page or open in a new tab.
for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault())
drop.addEventListener('dragleave', () => drop.classList.remove('over'))
drop.addEventListener('drop', (event) => {
  event.preventDefault()
  drop.classList.remove('over')
  const item = event.dataTransfer?.items[0]
  if (item?.webkitGetAsEntry()?.isDirectory) {
    signProgress.say('This is a folder. Drop a single file.', false)
    return
  }
  choose(event.dataTransfer?.files[0])
})

function choose(picked: File | undefined): void {
  if (picked === undefined) return
  chosen = picked
  byId('file-name').replaceChildren(bidiIsolated(picked.name), ` (${sizeOf(picked.size)})`)
  byId('signed').hidden = true
  signProgress.clear()
  showButtons()
  // Starts loading this large part before it is needed. A failure is reported when the person signs.
  import('webtoki/documents').catch(() => {})
}

/** Isolates a name, because right-to-left text or bidi control characters would reorder the text around it. */
function bidiIsolated(name: string): HTMLElement {
  const isolate = document.createElement('bdi')
  isolate.textContent = plainName(name)
  return isolate
}

sign.addEventListener('click', () => void runSign())

async function runSign(): Promise<void> {
  const certificate = signCertificates.value
  const document = chosen
  if (webtoki === undefined || certificate === undefined || document === undefined || isBusy.sign) return
  isBusy.sign = true
  showButtons()
  byId('signed').hidden = true
  try {
    const { signDocument, trustedBy, verifyDetached } = await import('webtoki/documents')
    const { demoCa } = await import('@webtoki/simulator')
    const { digestInWorker } = await import('./digest-in-worker.ts')
    const signature = await signDocument(webtoki, document, {
      certificate,
      // The page shows "Signed" only after it has verified the signature.
      onPhase: (phase) => {
        if (phase !== 'done') signProgress.phase(phase)
      },
      onProgress: ({ bytes }) => signProgress.progress(bytes, document.size),
      digest: digestInWorker,
    })
    signProgress.say('Checking the signature')
    const checked = await verifyDetached(signature, document, {
      digest: digestInWorker,
      // The demo trusts only its own CA, as its server does, and no issuer of real cards.
      trust: trustedBy([demoCa.certificate]),
    })
    signProgress.say('Signed')
    showSignature(document.name, signature, checked)
  } catch (error) {
    signProgress.fail(error)
  } finally {
    isBusy.sign = false
    showButtons()
    showHardware()
    settleFocus(sign, byId('sign-title'))
  }
}

function showSignature(
  name: string,
  signature: Uint8Array,
  checked: Awaited<ReturnType<typeof import('webtoki/documents')['verifyDetached']>>,
): void {
  const link = byId<HTMLAnchorElement>('download')
  URL.revokeObjectURL(link.href)
  link.href = URL.createObjectURL(
    new Blob([signature as Uint8Array<ArrayBuffer>], { type: 'application/pkcs7-signature' }),
  )
  link.download = `${name}.p7s`
  link.replaceChildren('Download ', bidiIsolated(name), '.p7s')
  const [signer] = checked.signers
  if (signer === undefined) return
  const isKnown = signer.trust === 'trusted'
  // The line "Issuer" shows if the issuer is trusted. The demo does not know the issuers of real cards.
  const [problem] = signer.problems.filter(({ reason }) => reason !== 'untrusted')
  const outcome = problem?.indication === 'TOTAL-FAILED' ? 'not valid' : 'cannot be verified here'
  showFacts(byId('verification'), [
    ['Signature', problem === undefined ? 'valid' : outcome, problem === undefined ? 'good' : 'bad'],
    ['Reason', problem?.message ?? '', ''],
    ['Signed by', signer.subject, ''],
    ['Issuer', isKnown ? 'trusted, the demo’s CA' : 'unknown to this demo', isKnown ? 'good' : ''],
    // The time is the signer's claim. No time-stamp authority has confirmed it.
    ['Claimed time', signer.signingTime?.toLocaleString() ?? '', ''],
    ['Algorithm', signer.algorithm, ''],
    ['Format', signer.level, ''],
    ['Not checked', signer.notChecked.join(', ').replaceAll('-', ' '), ''],
  ])
  byId('signed').hidden = false
}

/* Activity */

const names: Readonly<Record<Activity['what'], string>> = {
  login: 'Log in',
  sign: 'Sign',
  'log-out': 'Log out',
  certificates: 'Certificates',
}

function showActivity({ operation, what, phase, code, message }: Activity): void {
  // The page reads certificates often, which is only of interest if it fails.
  if (what === 'certificates' && phase !== 'failed') return
  const line = document.createElement('li')
  const number = document.createElement('span')
  number.className = 'number'
  number.textContent = `#${operation}`
  const name = document.createElement('span')
  name.textContent = names[what]
  const state = document.createElement(code === undefined ? 'span' : 'code')
  if (code === undefined) state.textContent = phase === 'failed' ? (message ?? 'failed') : phase
  // Allows a line break in an error code only after a slash or a hyphen.
  else state.append(...code.split(/(?<=[/-])/).flatMap((part) => [part, document.createElement('wbr')]))
  if (phase === 'failed') state.className = 'bad'
  if (phase === 'done') state.className = 'good'
  line.append(number, name, state)
  byId('activity').prepend(line)
  showHardware()
}

function showFacts(list: HTMLElement, facts: readonly (readonly [string, string, string])[]): void {
  list.hidden = false
  list.replaceChildren(
    ...facts
      .filter(([, value]) => value !== '')
      .flatMap(([name, value, mark]) => {
        const term = document.createElement('dt')
        term.textContent = name
        const detail = document.createElement('dd')
        detail.textContent = plainName(value)
        detail.className = mark
        return [term, detail]
      }),
  )
}

function sizeOf(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`
  const units = ['kB', 'MB', 'GB']
  let value = bytes / 1000
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`
}

keepForOffline()
document.documentElement.dataset['ready'] = ''
