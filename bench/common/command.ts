import { cpus, loadavg } from 'node:os'

/** The numbers of a flag that takes several, commas in between. */
export function numbers(list: string): number[] {
  return list.split(',').map(Number)
}

/** The contestants that `--only` names, in their order here. */
export function chosen<T extends { readonly name: string }>(all: readonly T[], only: readonly string[]): T[] {
  const unknown = only.find(name => all.every(contestant => contestant.name !== name))
  if (unknown !== undefined) wrong(`--only ${unknown}: there is no such contestant`)
  return all.filter(({ name }) => only.includes(name))
}

/** Ends the program, because of its flags. */
export function wrong(why: string): never {
  console.error(`${why}; --help names the flags`)
  process.exit(1)
}

/** Writes tables to standard output, unless one JSON document goes there. */
export function printer(isJson: boolean): (line: string) => void {
  return line => void (isJson ? process.stderr : process.stdout).write(`${line}\n`)
}

/** What a JSON document says of where it was measured. */
export function machine(): object {
  return { node: process.version, platform: process.platform, cpus: cpus().length, load: loadavg() }
}
