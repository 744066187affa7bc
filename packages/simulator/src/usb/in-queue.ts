/** An IN endpoint: packets wait for transfers and transfers for packets (USB 2.0, 5.8.3, 8.4.5). */
import { join } from '../bytes.ts'
import type { InResult } from './device-model.ts'

interface Packet {
  readonly bytes: Uint8Array
  /** Called when the transfer that took this packet has completed. */
  readonly delivered?: (() => void) | undefined
}

interface PendingTransfer {
  readonly lengthBytes: number
  readonly complete: (result: InResult) => void
  readonly packets: Packet[]
  gotBytes: number
}

/**
 * A transfer ends on a short packet, an empty packet or a full buffer. So a message of an exact multiple of the
 * packet size, with no empty packet behind it, leaves a longer transfer pending, as hardware does.
 */
export class InQueue {
  readonly packetBytes: number
  #items: (Packet | 'stall' | 'stall-always')[] = []
  #pending: PendingTransfer[] = []
  #halted = false
  #completed: (result: InResult) => void

  constructor(packetBytes: number, completed: (result: InResult) => void = () => {}) {
    this.packetBytes = packetBytes
    this.#completed = completed
  }

  /** How many transfers wait for packets. */
  get pendingTransfers(): number {
    return this.#pending.length
  }

  /** How many packets wait for a transfer. */
  get waitingPackets(): number {
    return this.#items.length
  }

  submit(lengthBytes: number, complete: (result: InResult) => void): () => void {
    const transfer: PendingTransfer = { lengthBytes, complete, packets: [], gotBytes: 0 }
    this.#pending.push(transfer)
    this.#pump()
    // What a cancelled transfer had taken is lost: the device has been told that it arrived.
    return () => {
      this.#pending = this.#pending.filter((other) => other !== transfer)
    }
  }

  /** Cuts a message into packets; `endWithEmpty` adds the empty one after an exact multiple. */
  sendMessage(message: Uint8Array, endWithEmpty: boolean, delivered?: () => void): void {
    const size = this.packetBytes
    for (let at = 0; at < message.length; at += size) {
      const last = at + size >= message.length
      this.#items.push({ bytes: message.slice(at, at + size), delivered: last ? delivered : undefined })
    }
    if (endWithEmpty && message.length > 0 && message.length % size === 0)
      this.#items.push({ bytes: new Uint8Array() })
    this.#pump()
  }

  /** Queues one packet, which may be empty. */
  sendPacket(bytes: Uint8Array): void {
    this.#items.push({ bytes })
    this.#pump()
  }

  /** The next IN token is answered by STALL, and the endpoint halts; 'always' halts again after each clear. */
  sendStall(always = false): void {
    this.#items.push(always ? 'stall-always' : 'stall')
    this.#pump()
  }

  clearHalt(): void {
    this.#halted = false
    this.#pump()
  }

  /** Drops packets not yet taken; transfers stay pending. */
  dropPackets(): void {
    this.#items = []
  }

  /** Bus reset or unplug: nothing is left. Pending transfers are the bus's to end. */
  reset(): void {
    this.#items = []
    this.#pending = []
    this.#halted = false
  }

  #finish(transfer: PendingTransfer, status: InResult['status']): void {
    this.#pending.shift()
    const data = join(...transfer.packets.map((packet) => packet.bytes)).slice(0, transfer.lengthBytes)
    const result: InResult = { status, data }
    this.#completed(result)
    transfer.complete(result)
    for (const packet of transfer.packets) packet.delivered?.()
  }

  #pump(): void {
    for (;;) {
      const transfer = this.#pending[0]
      if (transfer === undefined) return
      if (this.#halted) {
        this.#finish(transfer, 'stall')
        continue
      }
      const item = this.#items[0]
      if (item === undefined) return
      if (item !== 'stall-always') this.#items.shift()
      if (item === 'stall' || item === 'stall-always') {
        this.#halted = true
        continue
      }
      transfer.packets.push(item)
      transfer.gotBytes += item.bytes.length
      if (transfer.gotBytes > transfer.lengthBytes) this.#finish(transfer, 'babble')
      else if (item.bytes.length < this.packetBytes || transfer.gotBytes === transfer.lengthBytes)
        this.#finish(transfer, 'ok')
    }
  }
}
