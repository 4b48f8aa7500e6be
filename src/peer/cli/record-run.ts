import { durationMs } from '../../shared/core/duration.ts'
import type { OptionTable, Values } from '../../shared/core/options.ts'
import { QUORUM } from '../../shared/records/limits.ts'
import type { PutResult, RecordKey } from '../api.ts'
import { type Command, type CommandIo, EXIT } from './once.ts'
import { type Desk, type DeskNeeds, type DeskOptions, JOIN_MS, openDesk } from './record-desk.ts'
import { keyText, recordDetails, storedText } from './record-lines.ts'
import {
  type CommandSyntax,
  DELETE,
  type DELETE_OPTIONS,
  GET,
  type GET_OPTIONS,
  LIST,
  type LIST_OPTIONS,
  PUT,
  type PUT_OPTIONS,
  parseSyntax,
  syntaxHelp,
  WATCH,
  type WATCH_OPTIONS
} from './record-options.ts'
import { givenValue, printedValue } from './record-value.ts'
import { count } from './shown.ts'

/** What a command was told: its options, and its words. */
export type Told<T extends OptionTable> = Values<T> & {
  readonly words: readonly string[]
  readonly isNetworkGiven: boolean
}

/** What is the same for all commands of a program. */
export interface ProgramFacts {
  version(): string
  /** What the user types before the command: `npm run peer --`. */
  readonly program: string
}

/** A command from what it says about its command line, and what it does. */
export function commandOf<T extends OptionTable>(
  syntax: CommandSyntax<T>,
  { version, program }: ProgramFacts,
  run: (told: Told<T>, io: CommandIo) => Promise<number>
): Command<Told<T> & { readonly json: boolean; readonly help: boolean; readonly version: boolean }> {
  type All = Told<T> & { readonly json: boolean; readonly help: boolean; readonly version: boolean }
  return {
    version,
    help: () => syntaxHelp(syntax, program),
    parse(argv, env) {
      const { values, given, words } = parseSyntax(syntax, argv.slice(1), env)
      return { ...values, words, isNetworkGiven: given.has('network') } as unknown as All
    },
    run
  }
}

/** `put`, `get`, `delete`, `watch` and `list`. */
export function recordCommands(facts: ProgramFacts, needs: DeskNeeds) {
  const open = (
    told: DeskOptions & { readonly timeout?: string | undefined },
    io: CommandIo,
    isLocal = false
  ): Promise<Desk> => openDesk(told, needs, io, { isLocal, joinMs: Math.max(JOIN_MS, timeoutOf(told).timeoutMs ?? 0) })

  return {
    put: commandOf(PUT, facts, async (told: Told<typeof PUT_OPTIONS>, io) => {
      const [key, text] = told.content ? [null, told.words[0]] : [keyOf(told), told.words[1]]
      const form = told.bytes ? 'bytes' : told.string ? 'string' : 'auto'
      if ((text === undefined || text === '-') && io.host.stdin.isTTY === true) {
        io.say('type the value; Ctrl-D ends it')
      }
      const value = await givenValue(text, form, io.host.stdin, io.signal)
      await using desk = await open(told, io)
      const result = await desk.records.put(key, value, {
        ...timeoutOf(told),
        ...(told.expires === undefined ? {} : { validityMs: durationMs(told.expires) }),
        renew: told.renew,
        signal: io.signal
      })
      if (told.json) io.printer.print({ event: 'stored', ...result })
      else if (key === null) {
        const { key: stored } = result
        await io.write(`${typeof stored === 'object' && 'content' in stored ? stored.content : keyText(stored)}\n`)
        io.say(storedText({ event: 'stored', ...result }))
      } else await io.write(`${storedText({ event: 'stored', ...result })}\n`)
      warn(result, io)
      return EXIT.done
    }),

    get: commandOf(GET, facts, async (told: Told<typeof GET_OPTIONS>, io) => {
      const key: RecordKey = told.content ? { content: told.words[0]! } : keyOf(told)
      await using desk = await open(told, io)
      const found = await desk.records.get(key, {
        ...timeoutOf(told),
        ...(told.quorum === undefined ? {} : { quorum: Number(told.quorum) }),
        signal: io.signal
      })
      if (found === undefined) {
        if (told.json) io.printer.print({ event: 'no-record', key })
        else io.say(`there is no record under ${keyText(key)}`)
        return EXIT.noRecord
      }
      if (told.json) io.printer.print({ event: 'record', ...found })
      else await io.write(printedValue(found.value, io.host.stdout.isTTY === true))
      if (told.verbose) io.say(recordDetails(found))
      return EXIT.done
    }),

    delete: commandOf(DELETE, facts, async (told: Told<typeof DELETE_OPTIONS>, io) => {
      await using desk = await open(told, io)
      const result = await desk.records.delete(keyOf(told), { ...timeoutOf(told), signal: io.signal })
      if (told.json) io.printer.print({ event: 'deleted', ...result })
      else await io.write(`${storedText({ event: 'deleted', ...result })}\n`)
      warn(result, io)
      return EXIT.done
    }),

    watch: commandOf(WATCH, facts, async (told: Told<typeof WATCH_OPTIONS>, io) => {
      const key = keyOf(told)
      await using desk = await open(told, io)
      for await (const version of desk.records.watch(key, { signal: io.signal })) {
        if (told.json) {
          io.printer.print({ event: 'record', ...version })
          await io.write('')
        } else if (version.value === undefined) io.say(`${keyText(key)} was deleted`)
        else await io.write(printedLine(version.value, io))
        if (told.verbose) io.say(recordDetails(version))
      }
      return EXIT.done
    }),

    list: commandOf(LIST, facts, async (told: Told<typeof LIST_OPTIONS>, io) => {
      await using desk = await open(told, io, true)
      for (const own of await desk.records.list()) {
        io.printer.print({ event: 'own-record', ...own })
        await io.write('')
      }
      return EXIT.done
    })
  }
}

/** One version a line: bytes, too, are shown as JSON. */
function printedLine(value: Parameters<typeof printedValue>[0], io: CommandIo): string | Uint8Array {
  const isBytes = value instanceof Uint8Array
  return printedValue(value, isBytes || io.host.stdout.isTTY === true)
}

function keyOf(told: {
  readonly words: readonly string[]
  readonly own: boolean
  readonly owner?: string | undefined
}): RecordKey {
  const [name = ''] = told.words
  if (told.owner !== undefined) return { owner: told.owner, name }
  return told.own ? { name } : name
}

function timeoutOf({ timeout }: { readonly timeout?: string | undefined }): { timeoutMs?: number } {
  return timeout === undefined ? {} : { timeoutMs: durationMs(timeout) }
}

function warn({ stored, isQuorum }: PutResult, io: CommandIo): void {
  if (isQuorum) return
  io.say(`warning: only ${count(stored, 'node')} stored it; with fewer than ${QUORUM} it may be lost with them`)
}
