/** The demo's page: a reader, a login, a signature, and what goes on meanwhile. */
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
import { combineLatest, firstValueFrom, of, skip, switchMap } from 'rxjs'
import { type Activity, type CardCertificate, Webtoki } from 'webtoki'
import { keepForOffline } from './offline.ts'
import './page-parts.ts'
import { ask, type Identity, isReachable$, UnreachableError, whoIsKnown } from './site.ts'
import type { VirtualDesk } from './virtual.ts'

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
let desk: VirtualDesk | undefined
let chosen: File | undefined
let hasCard = false
const isBusy = { login: false, sign: false }

/** What was hidden or disabled under the keyboard leaves it nowhere: the first of these that takes it has it next. */
function settleFocus(...places: readonly HTMLElement[]): void {
  for (const place of places) {
    const at = document.activeElement
    if (at !== null && at !== document.body && at.checkVisibility() && !at.matches(':disabled')) return
    place.focus({ preventScroll: true })
  }
}

/* 1 Reader */

byId('use-virtual').addEventListener('click', () => void choosing(useVirtual))
byId('use-real').addEventListener('click', () => void choosing(useReal))

let isChoosing = false
/** A second click while the first is being answered would open everything twice. */
async function choosing(work: () => Promise<void>): Promise<void> {
  if (isChoosing || webtoki !== undefined) return
  isChoosing = true
  try {
    await work()
  } catch (error) {
    tell(explain(error))
  } finally {
    isChoosing = false
  }
}

async function useVirtual(): Promise<void> {
  const { VirtualDesk } = await import('./virtual.ts')
  desk = new VirtualDesk()
  byId('bench').hidden = false
  readers.setAttribute('no-connect', '')
  start(new Webtoki({ pin: pin.ask, usb: desk.usb }))
  desk.card.onTouchWanted = (wanted) => {
    byId('touch-now').hidden = !wanted
    if (!wanted) settleFocus(byId('card-toggle'))
    if (wanted)
      for (const progress of [loginProgress, signProgress])
        if (isWaiting(progress)) progress.phase('awaiting-touch')
  }
  desk.onPinWanted = (wanted) => {
    byId('pad-keys').hidden = !wanted
    if (!wanted) settleFocus(byId('card-toggle'))
  }
  showDesk()
}

function isWaiting(progress: WebtokiProgress): boolean {
  return progress === loginProgress ? isBusy.login : isBusy.sign
}

async function useReal(): Promise<void> {
  const real = new Webtoki({ pin: pin.ask })
  const { support } = real
  if (support !== 'available') {
    tell(strings().errors[`reader/unreachable/${support}`])
    return
  }
  try {
    // A reader that this page was let at before needs no second permission.
    const slots = await firstValueFrom(real.slots$)
    const problems = await firstValueFrom(real.problems$)
    if (slots.length + problems.length === 0 && !(await real.requestReader())) {
      tell('No reader was chosen. You can try again, or use the virtual reader.')
      await real.close()
      return
    }
  } catch (error) {
    tell(explain(error))
    await real.close()
    return
  }
  start(real)
}

function tell(sentence: string): void {
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
        slots.length === 0 ? of([]) : combineLatest(slots.map(({ presence$ }) => presence$)),
      ),
    )
    .subscribe((presences) => {
      hasCard = presences.includes('present')
      void refresh()
    })
  addEventListener('pagehide', () => void started.logOut())
}

let refreshing = 0
let reading = 0
async function refresh(): Promise<void> {
  const turn = ++refreshing
  let [login, signing]: (readonly CardCertificate[])[] = [[], []]
  let trouble: unknown
  reading++
  try {
    login = (await webtoki?.certificates('login')) ?? []
    signing = (await webtoki?.certificates('signing')) ?? []
  } catch (error) {
    // Where it was pulled meanwhile the next presence brings the next look.
    trouble = error
  } finally {
    reading--
  }
  // The last one to end may not be the latest: whoever is last shows the card's state.
  if (turn !== refreshing) return showDesk()
  loginCertificates.certificates = login ?? []
  signCertificates.certificates = signing ?? []
  const isUnread = hasCard && trouble !== undefined
  loginCertificates.hidden = signCertificates.hidden = !hasCard || isUnread
  if (isUnread) tell(explain(trouble))
  else note.hidden = true
  showButtons()
  showDesk()
}

function showButtons(): void {
  // A button whose work is under way keeps the focus, which a disabled one would lose; its handler takes no second click.
  logIn.ariaDisabled = String(isBusy.login)
  sign.ariaDisabled = String(isBusy.sign)
  const focused = document.activeElement
  logIn.disabled = !isBusy.login && loginCertificates.value === undefined
  sign.disabled = !isBusy.sign && (signCertificates.value === undefined || chosen === undefined)
  if (focused === logIn) settleFocus(byId('login-title'))
  if (focused === sign) settleFocus(byId('sign-title'))
}

/* The virtual desk */

byId('card-toggle').addEventListener('click', () => {
  desk?.toggleCard()
  showDesk()
})
byId('reader-toggle').addEventListener('click', () => {
  desk?.toggleReader()
  showDesk()
})
byId<HTMLInputElement>('slow').addEventListener('change', ({ target }) => {
  if (desk !== undefined) desk.card.isSlow = (target as HTMLInputElement).checked
})
byId<HTMLInputElement>('touch').addEventListener('change', ({ target }) => {
  if (desk !== undefined) desk.card.asksForTouch = (target as HTMLInputElement).checked
})
byId('touch-now').addEventListener('click', () => desk?.card.touch())
byId<HTMLInputElement>('pad').addEventListener('change', ({ target }) => {
  desk?.useKeys((target as HTMLInputElement).checked)
  showDesk()
})
byId('pad-pin').addEventListener('click', () => desk?.press('pin'))
byId('pad-cancel').addEventListener('click', () => desk?.press('cancel'))

function showDesk(): void {
  if (desk === undefined) return
  byId('card-toggle').textContent = desk.isCardIn ? 'Take the card out' : 'Put the card in'
  byId('reader-toggle').textContent = desk.isPlugged ? 'Unplug the reader' : 'Plug the reader in'
  void showCardState()
}

/** A question of ours in the middle of an operation would part its VERIFY from its signature, or an answer from its rest. */
async function showCardState(): Promise<void> {
  if (desk === undefined || isBusy.login || isBusy.sign || reading > 0) return
  const said = desk.isCardIn ? await desk.state() : 'The card is out.'
  if (said !== undefined) byId('card-state').textContent = said
}

/* 2 Log in */

logIn.addEventListener('click', () => void runLogin())
byId('log-out').addEventListener('click', () => void runLogOut())

async function runLogin(): Promise<void> {
  const certificate = loginCertificates.value
  if (webtoki === undefined || certificate === undefined || isBusy.login) return
  isBusy.login = true
  isToldUnreachable = false
  showButtons()
  try {
    const { nonce } = await ask<{ nonce: string }>('/api/nonce')
    const token = await webtoki.login(nonce, { certificate, onPhase: (phase) => loginProgress.phase(phase) })
    loginProgress.say('The site is checking your login', true)
    const { identity } = await ask<{ identity: Identity }>('/api/login', {
      headers: { 'content-type': 'application/json' },
      body: token,
    })
    showIdentity(identity)
    loginProgress.say('You are logged in')
  } catch (error) {
    isToldUnreachable = error instanceof UnreachableError
    loginProgress.fail(error)
  } finally {
    isBusy.login = false
    showButtons()
    showDesk()
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

function showNobody(): void {
  if (byId('who').hidden) return
  byId('who').hidden = byId('identity').hidden = true
  settleFocus(logIn, byId('login-title'))
}

async function runLogOut(): Promise<void> {
  // Neither waits for the other: the card may be in the middle of something, the site may not answer.
  const [card, site] = await Promise.allSettled([webtoki?.logOut(), ask('/api/logout')])
  isToldUnreachable = site.status === 'rejected' && site.reason instanceof UnreachableError
  if (site.status === 'rejected') {
    const isCardOut = card.status === 'fulfilled' && webtoki !== undefined
    loginProgress.say(
      `${isCardOut ? 'Your card is logged out, but the' : 'The'} site still knows you. ${(site.reason as Error).message}`,
      false,
    )
  } else {
    showNobody()
    if (card.status === 'rejected') loginProgress.fail(card.reason)
    else
      loginProgress.say(
        webtoki === undefined ? 'You are logged out' : 'You are logged out, and so is your card',
      )
  }
  showDesk()
}

/** Whoever was logged in at the site still is when the page is loaded anew, or comes back. */
async function showWhoIsKnown(): Promise<void> {
  const identity = await whoIsKnown()
  if (isBusy.login) return
  if (identity === null) showNobody()
  else showIdentity(identity)
}
addEventListener('pageshow', () => void showWhoIsKnown().catch(() => {}))

/** Whether the last thing that was said of logging in or out is that the site does not answer. */
let isToldUnreachable = false
isReachable$.pipe(skip(1)).subscribe((isReachable) => {
  byId('unreachable').hidden = isReachable
  if (!isReachable) return
  if (isToldUnreachable) loginProgress.clear()
  void showWhoIsKnown().catch(() => {})
})

/* 3 Sign */

file.addEventListener('change', () => choose(file.files?.[0]))
// Browsers tell of no change where the same file is chosen again, and it may be another one by now.
file.addEventListener('click', () => {
  file.value = ''
})
for (const type of ['dragenter', 'dragover'] as const) {
  drop.addEventListener(type, (event) => {
    event.preventDefault()
    drop.classList.add('over')
  })
}
// Beside the place for it, a file would open in the window, in place of the page or beside it.
for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault())
drop.addEventListener('dragleave', () => drop.classList.remove('over'))
drop.addEventListener('drop', (event) => {
  event.preventDefault()
  drop.classList.remove('over')
  const item = event.dataTransfer?.items[0]
  if (item?.webkitGetAsEntry()?.isDirectory) {
    signProgress.say('That is a folder. Drop a single file.', false)
    return
  }
  choose(event.dataTransfer?.files[0])
})

function choose(picked: File | undefined): void {
  if (picked === undefined) return
  chosen = picked
  byId('file-name').replaceChildren(isolated(picked.name), ` (${sizeOf(picked.size)})`)
  byId('signed').hidden = true
  signProgress.clear()
  showButtons()
  // Large, and wanted soon: loaded while the person looks at what they chose. What fails here is told when they sign.
  import('webtoki/documents').catch(() => {})
}

/** A name may be written from right to left, or pretend to be: what stands beside it keeps its place. */
function isolated(name: string): HTMLElement {
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
      // Done is what is signed and checked.
      onPhase: (phase) => {
        if (phase !== 'done') signProgress.phase(phase)
      },
      onProgress: ({ bytes }) => signProgress.progress(bytes, document.size),
      digest: digestInWorker,
    })
    signProgress.say('Checking the signature')
    const checked = await verifyDetached(signature, document, {
      digest: digestInWorker,
      // The demo's own CA, as on its server; of real cards' issuers it knows none.
      trust: trustedBy([demoCa.certificate]),
    })
    signProgress.say('Signed')
    showSignature(document.name, signature, checked)
  } catch (error) {
    signProgress.fail(error)
  } finally {
    isBusy.sign = false
    showButtons()
    showDesk()
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
  link.replaceChildren('Download ', isolated(name), '.p7s')
  const [signer] = checked.signers
  if (signer === undefined) return
  const isKnown = signer.trust === 'trusted'
  // Whom it is of stands on a line of its own: of real cards' issuers this demo knows none.
  const [problem] = signer.problems.filter(({ reason }) => reason !== 'untrusted')
  const outcome = problem?.indication === 'TOTAL-FAILED' ? 'not valid' : 'cannot be judged here'
  showFacts(byId('verification'), [
    ['Signature', problem === undefined ? 'valid' : outcome, problem === undefined ? 'good' : 'bad'],
    ['Reason', problem?.message ?? '', ''],
    ['Signed by', signer.subject, ''],
    ['Issuer', isKnown ? 'checked, the demo’s CA' : 'not known to this demo', isKnown ? 'good' : ''],
    // The signer's own word: nobody else saw the moment.
    ['Claimed time', signer.signingTime?.toLocaleString() ?? '', ''],
    ['Algorithm', signer.algorithm, ''],
    ['Format', signer.level, ''],
    ['Not checked', signer.notChecked.join(', ').replaceAll('-', ' '), ''],
  ])
  byId('signed').hidden = false
}

/* What is going on */

const names: Readonly<Record<Activity['what'], string>> = {
  login: 'Log in',
  sign: 'Sign',
  'log-out': 'Log out',
  certificates: 'Certificates',
}

function showActivity({ operation, what, phase, code, message }: Activity): void {
  // Looking for certificates goes on all the time, and tells nobody anything as long as it works.
  if (what === 'certificates' && phase !== 'failed') return
  const line = document.createElement('li')
  const number = document.createElement('span')
  number.className = 'number'
  number.textContent = `#${operation}`
  const name = document.createElement('span')
  name.textContent = names[what]
  const state = document.createElement(code === undefined ? 'span' : 'code')
  if (code === undefined) state.textContent = phase === 'failed' ? (message ?? 'failed') : phase
  // Codes may break behind a slash or a hyphen, and nowhere else.
  else state.append(...code.split(/(?<=[/-])/).flatMap((part) => [part, document.createElement('wbr')]))
  if (phase === 'failed') state.className = 'bad'
  if (phase === 'done') state.className = 'good'
  line.append(number, name, state)
  byId('activity').prepend(line)
  showDesk()
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
