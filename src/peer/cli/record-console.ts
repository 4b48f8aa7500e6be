import type { RecordKey } from '../api.ts'
import { firstWord, invalidCommand } from './command-words.ts'
import type { Command } from './commands.ts'
import { valueOfText } from './record-value.ts'

/** Commands of the console for signed key–value records. */
export const RECORD_COMMANDS: readonly Command[] = [
  {
    name: 'put',
    usage: '/put [--own] <key> <text or JSON>',
    help: "Stores a value in the network for 48 hours; with --own under a name of this peer's own.",
    async run({ peer, printer }, rest) {
      const { key, text } = keyed(this, rest, 'a key and a value')
      if (text === '') throw expected(this, 'a value after the key')
      printer.print({ event: 'stored', ...(await peer.records.put(key, valueOfText(text))) })
    }
  },
  {
    name: 'get',
    usage: '/get [--own | --owner <peer id> | --content] <key>',
    help: "Prints the newest value under a key: anybody's, this peer's own, another's, or that with this hash.",
    async run({ peer, printer }, rest) {
      const key = onlyKey(this, rest)
      const found = await peer.records.get(key)
      printer.print(found === undefined ? { event: 'no-record', key } : { event: 'record', ...found })
    }
  },
  {
    name: 'delete',
    usage: '/delete [--own] <key>',
    help: 'Deletes what is under a key, for everybody.',
    async run({ peer, printer }, rest) {
      printer.print({ event: 'deleted', ...(await peer.records.delete(onlyKey(this, rest))) })
    }
  },
  {
    name: 'watch',
    usage: '/watch [--own | --owner <peer id>] <key>',
    help: 'Prints the value under a key, and each newer one as it comes.',
    run({ watches }, rest) {
      watches.start(onlyKey(this, rest))
    }
  },
  {
    name: 'unwatch',
    usage: '/unwatch [--own | --owner <peer id>] [key]',
    help: 'Ends the watch of a key, or all watches.',
    run({ watches }, rest) {
      watches.stop(rest === '' ? undefined : onlyKey(this, rest))
    }
  },
  {
    name: 'records',
    usage: '/records',
    help: 'Lists the records this peer wrote that still count.',
    async run({ peer, printer, output }, rest) {
      if (rest !== '') throw expected(this, 'nothing after it')
      const list = await peer.records.list()
      for (const own of list) {
        await output.whenRoom(peer.signal, () => printer.print({ event: 'own-record', ...own }))
      }
      printer.print({ event: 'records', records: list.length })
    }
  }
]

function onlyKey(command: Command, rest: string): RecordKey {
  const { key, text } = keyed(command, rest, 'a key')
  if (text !== '') throw expected(command, 'one key ("in quotes" if it has spaces)')
  return key
}

/** The key that stands first, with what says whose it is, and the text behind it. In quotes nothing is a flag. */
function keyed(command: Command, rest: string, what: string): { readonly key: RecordKey; readonly text: string } {
  const [, flag, behind] = /^--(\S*)\s*(.*)$/su.exec(rest) ?? []
  if (flag === undefined) {
    const [name, text] = firstWord(rest)
    if (name === '') throw expected(command, what)
    return { key: name, text }
  }
  if (command.usage.match(/--[a-z]+/g)?.includes(`--${flag}`) !== true)
    throw expected(command, `no --${flag.slice(0, 40)}`)
  const [owner, named] = flag === 'owner' ? firstWord(behind ?? '') : [undefined, behind ?? '']
  const [name, text] = firstWord(named)
  if (name === '') throw expected(command, what)
  if (flag === 'content') return { key: { content: name }, text }
  return { key: owner === undefined ? { name } : { owner, name }, text }
}

function expected({ name, usage }: Command, what: string): Error {
  return invalidCommand(`/${name} expects ${what}: ${usage}`)
}
