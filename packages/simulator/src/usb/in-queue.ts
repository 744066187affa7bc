/**
 * The queue of an IN endpoint, which matches packets of the device with transfers of the host (USB 2.0, 5.8.3 and
 * 8.4.5).
 */
import { join } from '../bytes.ts'
import type { InResult } from './device-model.ts'

interface Packet {
  readonly bytes: Uint8Array
  /** Called after the transfer with this packet is complete. */
  readonly delivered?: (() => void) | undefined
}

interface PendingTransfer {
  readonly lengthBytes: number
  readonly complete: (result: InResult) => void
  readonly packets: Packet[]
  receivedBytes: number
}

/**
 * An IN endpoint. A transfer ends with a short packet, an empty packet or a full buffer. Therefore a message whose
 * length is a multiple of the packet size, without an empty packet after it, leaves a longer transfer pending, as with
 * real hardware.
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

  /** Number of transfers that wait for packets. */
  get pendingTransfers(): number {
    return this.#pending.length
  }

  /** Number of packets and stalls that wait for a transfer. */
  get waitingPackets(): number {
    return this.#items.length
  }

  /** Queues a transfer. `complete` is called once, unless the returned function cancels the transfer before. */
  submit(lengthBytes: number, complete: (result: InResult) => void): () => void {
    const transfer: PendingTransfer = { lengthBytes, complete, packets: [], receivedBytes: 0 }
    this.#pending.push(transfer)
    this.#pump()
    // The packets of a cancelled transfer are lost, because the device has already sent them successfully.
    return () => {
      this.#pending = this.#pending.filter((other) => other !== transfer)
    }
  }

  /**
   * Splits a message into packets. With `endWithEmpty`, an empty packet follows if the length is a multiple of the packet
   * size. `delivered` is called after the host has received the last packet with data.
   */
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

  /** Halts the endpoint with a STALL at the next IN token. With `always`, the endpoint halts again after each clear. */
  sendStall(always = false): void {
    this.#items.push(always ? 'stall-always' : 'stall')
    this.#pump()
  }

  /** Clears the halt of the endpoint. */
  clearHalt(): void {
    this.#halted = false
    this.#pump()
  }

  /** Discards the queued packets. Transfers stay pending. */
  dropPackets(): void {
    this.#items = []
  }

  /** Clears the queue at a bus reset or when the device is unplugged. The bus completes the pending transfers. */
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
      transfer.receivedBytes += item.bytes.length
      if (transfer.receivedBytes > transfer.lengthBytes) this.#finish(transfer, 'babble')
      else if (item.bytes.length < this.packetBytes || transfer.receivedBytes === transfer.lengthBytes)
        this.#finish(transfer, 'ok')
    }
  }
}
