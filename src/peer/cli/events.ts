import type { PeerId } from '../../shared/core/address.ts'
import type { Status } from '../../shared/status/status.ts'
import type { LeaveReason, OwnRecord, RecordKey, RecordVersion, Value, Via } from '../api.ts'

/** A member as it is printed. */
export interface ShownMember {
  readonly peerId: PeerId
  readonly name: string | undefined
  readonly addresses: readonly string[]
  readonly verified: boolean
}

export interface ShownCommand {
  readonly usage: string
  readonly help: string
}

/** What is told of signed key–value records. */
export type RecordEvent =
  /** What is under a key; `holders` and `answers` only where somebody counted them. */
  | ({ readonly event: 'record'; readonly holders?: number; readonly answers?: number } & RecordVersion)
  | { readonly event: 'no-record'; readonly key: RecordKey }
  | StoredEvent<'stored'>
  | StoredEvent<'deleted'>
  | ({ readonly event: 'own-record' } & OwnRecord)
  /** Behind the own records. */
  | { readonly event: 'records'; readonly records: number }
  | { readonly event: 'watching'; readonly key: RecordKey }
  | { readonly event: 'unwatched'; readonly key: RecordKey }
  /** What became of the records of an import. */
  | { readonly event: 'imported'; readonly taken: number; readonly older: number; readonly refused: number }

interface StoredEvent<E extends string> {
  readonly event: E
  readonly key: RecordKey
  readonly sequence: number
  readonly expiresAt: string
  /** Other nodes that have it on disk. */
  readonly stored: number
  readonly isQuorum: boolean
}

/** What a program tells its user, whatever the form: see `Printer`. */
export type CliEvent =
  | {
      readonly event: 'listening'
      readonly role: 'bootstrap' | 'peer'
      readonly peerId: PeerId
      readonly addresses: readonly string[]
      readonly http: string | undefined
    }
  | { readonly event: 'ready' }
  | { readonly event: 'joined'; readonly topic: string }
  | ({ readonly event: 'member'; readonly topic: string } & ShownMember)
  | {
      readonly event: 'left'
      readonly topic: string
      readonly peerId: PeerId
      readonly name: string | undefined
      readonly reason: LeaveReason
      /** This peer itself left the topic. */
      readonly isSelf?: boolean
    }
  | {
      readonly event: 'message'
      readonly topic: string
      readonly from: PeerId
      readonly name: string | undefined
      readonly id: string
      readonly value: Value
      readonly via: Via
      readonly sentAt?: string | undefined
      /** Its sender waits for an answer: what `/answer` takes. */
      readonly question?: number | undefined
    }
  | {
      readonly event: 'sent'
      readonly topic: string
      readonly to: PeerId
      readonly name: string | undefined
      readonly id: string
      readonly rttMs: number
    }
  | {
      readonly event: 'file-progress'
      readonly topic: string
      readonly peerId: PeerId
      /** The file's. */
      readonly name: string
      readonly bytes: number
      readonly totalBytes: number
      readonly direction: 'in' | 'out'
    }
  | {
      readonly event: 'file'
      readonly topic: string
      readonly peerId: PeerId
      /** What the other side calls itself. */
      readonly member: string | undefined
      /** The file's; of a received one as it was saved. */
      readonly name: string
      readonly bytes: number
      /** Where a received file is. */
      readonly path: string | undefined
      readonly direction: 'in' | 'out'
    }
  | { readonly event: 'error'; readonly code: string; readonly message: string }
  // answers to console commands
  | {
      readonly event: 'said'
      readonly topic: string
      readonly id: string
      readonly received: number
      readonly members: number
    }
  | {
      readonly event: 'answer'
      readonly topic: string
      readonly from: PeerId
      readonly name: string | undefined
      readonly id: string
      readonly value: Value
    }
  | {
      readonly event: 'answered'
      readonly topic: string
      readonly to: PeerId
      readonly name: string | undefined
      readonly question: number
    }
  | { readonly event: 'history'; readonly topic: string; readonly messages: number }
  | { readonly event: 'topic'; readonly topic: string }
  | { readonly event: 'members'; readonly topic: string; readonly members: readonly ShownMember[] }
  | { readonly event: 'connected'; readonly peerId: PeerId }
  | { readonly event: 'disconnected'; readonly address: string }
  | { readonly event: 'status'; readonly status: Status }
  | { readonly event: 'help'; readonly commands: readonly ShownCommand[] }
  | RecordEvent
  /** Advice for people; JSON lines leave it out. */
  | { readonly event: 'hint'; readonly text: string }

export type CliEventName = CliEvent['event']
