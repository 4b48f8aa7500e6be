import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

// docs/architecture.md draws what this file checks: which part may know which.

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const posix = (path: string): string => path.replaceAll('\\', '/')
const sources = globSync('src/**/*.ts', { cwd: root }).map(posix).sort()

interface Import {
  readonly from: string
  readonly to: string
  /** Gone when types are stripped: nothing is loaded. */
  readonly isTypeOnly: boolean
}

/** Every `import`, `export … from` and `import()`. Relative ones as paths from the root. */
function importsOf(path: string): Import[] {
  const text = withoutComments(read(path))
  const found: Import[] = []
  for (const match of text.matchAll(/^(?:import|export)\s+(type\b)?[^'"]*?from\s+'([^']+)'/gm)) {
    found.push({ from: path, to: resolved(path, match[2] ?? ''), isTypeOnly: match[1] !== undefined })
  }
  for (const match of text.matchAll(/^import '([^']+)'/gm)) {
    found.push({ from: path, to: resolved(path, match[1] ?? ''), isTypeOnly: false })
  }
  for (const match of text.matchAll(/(typeof )?\bimport\('([^']+)'\)/g)) {
    found.push({ from: path, to: resolved(path, match[2] ?? ''), isTypeOnly: match[1] !== undefined })
  }
  return found
}

function resolved(path: string, specifier: string): string {
  return specifier.startsWith('.') ? posix(normalize(join(dirname(path), specifier))) : specifier
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}

const imports = sources.flatMap(importsOf)
const inside = imports.filter(({ to }) => to.startsWith('src/'))
const outside = imports.filter(({ to }) => !to.startsWith('src/'))

/** Bottom first. A file imports from its own part and from rows below; parts of one row do not know each other. */
const ROWS: ReadonlyArray<Readonly<Record<string, RegExp>>> = [
  { core: /^src\/shared\/core\// },
  { wire: /^src\/shared\/wire\//, store: /^src\/shared\/store\// },
  { node: /^src\/shared\/node\// },
  {
    roster: /^src\/shared\/roster\//,
    gossip: /^src\/shared\/gossip\//,
    records: /^src\/shared\/records\//,
    status: /^src\/shared\/status\//
  },
  // keeps what gossip brings
  { history: /^src\/shared\/history\// },
  // what a participant speaks of; types only
  { 'peer/api': /^src\/peer\/api(-records)?\.ts$/ },
  { 'peer/value': /^src\/peer\/(value|times)\.ts$/ },
  {
    'peer/topics': /^src\/peer\/topics\//,
    'peer/messaging': /^src\/peer\/messaging\//,
    'peer/broadcasts': /^src\/peer\/broadcasts\//,
    'peer/records': /^src\/peer\/records\//,
    'peer/streams': /^src\/peer\/streams\//
  },
  { host: /^src\/shared\/host\// },
  { bootstrap: /^src\/bootstrap\/(bootstrap|options)\.ts$/, peer: /^src\/peer\/(peer|options)\.ts$/ },
  { testnet: /^src\/testnet\.ts$/ },
  { library: /^src\/index\.ts$/ },
  { 'peer/cli': /^src\/peer\/cli\// },
  { mains: /^src\/(bootstrap|peer)\/main\.ts$/ }
]

function placeOf(path: string): { row: number; part: string } | undefined {
  for (const [row, parts] of ROWS.entries()) {
    for (const [part, pattern] of Object.entries(parts)) if (pattern.test(path)) return { row, part }
  }
  return undefined
}

describe('the layout', () => {
  it('has a row for every file', () => {
    assert.deepEqual(
      sources.filter(path => placeOf(path) === undefined),
      []
    )
  })

  it('names files that exist in every import', () => {
    assert.ok(inside.length > 200 && outside.length > 50, 'imports are found at all')
    assert.deepEqual(
      inside.filter(({ to }) => !existsSync(join(root, to))),
      []
    )
  })

  it('lets a part import from rows below only, never sideways', () => {
    const wrong = inside.filter(({ from, to }) => {
      const [importer, imported] = [placeOf(from), placeOf(to)]
      if (importer === undefined || imported === undefined) return true
      return importer.part !== imported.part && importer.row <= imported.row
    })
    assert.deepEqual(wrong.map(arrow), [])
  })

  it('keeps the command line out of the library', () => {
    assert.deepEqual(
      inside.filter(({ from, to }) => placeOf(to)?.part === 'peer/cli' && !isCommandLine(from)).map(arrow),
      []
    )
    // and the command line takes the peer by its interface, so that it runs over a fake one
    assert.deepEqual(
      inside.filter(({ from, to }) => placeOf(from)?.part === 'peer/cli' && placeOf(to)?.part === 'peer').map(arrow),
      []
    )
  })

  it('has no cycle of files', () => {
    const next = Map.groupBy(
      inside.filter(({ isTypeOnly }) => !isTypeOnly),
      ({ from }) => from
    )
    const done = new Set<string>()
    const visit = (path: string, trail: readonly string[]): void => {
      assert.ok(!trail.includes(path), [...trail, path].join(' → '))
      if (done.has(path)) return
      for (const { to } of next.get(path) ?? []) visit(to, [...trail, path])
      done.add(path)
    }
    for (const path of sources) visit(path, [])
  })
})

describe('libp2p', () => {
  /** Metrics of libp2p are made by its own package; `createMetrics` hands them to the node as a factory nobody looks into. */
  const EXCEPTIONS = new Map([['src/shared/status/prometheus.server.ts', '@libp2p/prometheus-metrics']])

  it('is imported in src/shared/node alone', () => {
    const wrong = outside
      .filter(({ to }) => /^(libp2p|@libp2p\/|@chainsafe\/libp2p-)/.test(to))
      .filter(({ from, to }) => placeOf(from)?.part !== 'node' && EXCEPTIONS.get(from) !== to)
    assert.deepEqual(wrong.map(arrow), [])
  })

  it('is not loaded by what the rest needs of the node: port, supervision, limits, the fake', () => {
    for (const path of ['port', 'supervisor', 'limits', 'options', 'admission', 'fake'].map(
      name => `src/shared/node/${name}.ts`
    )) {
      const loaded = outside.filter(({ from, to, isTypeOnly }) => from === path && !isTypeOnly && /libp2p/.test(to))
      assert.deepEqual(loaded.map(arrow), [])
    }
  })
})

describe('what runs under Node alone', () => {
  const mayUseNode = (path: string): boolean =>
    /\.server\.ts$/.test(path) || isCommandLine(path) || path === HEALTHCHECK
  /** A program of its own: the health check of a container, started every few seconds. */
  const HEALTHCHECK = 'src/shared/status/healthcheck.ts'

  it('says so in its file name, or is part of the command line', () => {
    assert.deepEqual(outside.filter(({ from, to }) => to.startsWith('node:') && !mayUseNode(from)).map(arrow), [])
    for (const path of sources.filter(each => !mayUseNode(each))) {
      assert.doesNotMatch(withoutComments(read(path)), /\b(process\.|Buffer\.|require\()/, path)
    }
  })

  /** Composition roots, and what a user of the package imports. */
  const ROOTS = ['src/bootstrap/bootstrap.ts', 'src/peer/peer.ts', 'src/index.ts']

  it('is put together by composition roots alone', () => {
    const wrong = inside
      .filter(({ to, isTypeOnly }) => /\.server\.ts$/.test(to) && !isTypeOnly)
      .filter(({ from }) => !/\.server\.ts$/.test(from))
      .filter(({ from }) => !ROOTS.includes(from) && !/\/main\.ts$/.test(from))
    assert.deepEqual(wrong.map(arrow), [])
  })
})

describe('house rules', () => {
  it('leave console to the command line', () => {
    for (const path of sources.filter(each => !isCommandLine(each))) {
      assert.doesNotMatch(withoutComments(read(path)), /\bconsole\.\w/, path)
    }
  })

  it('keep a file to one idea', () => {
    const MAX_LINES = 350
    /** Named with what they may have at most, so that they do not grow. Take one out as soon as it is short enough. */
    const LONG: Readonly<Record<string, number>> = {
      'src/shared/node/libp2p.server.ts': 480,
      'src/shared/roster/roster.ts': 650
    }
    const lines = new Map(sources.map(path => [path, read(path).split('\n').length]))
    for (const [path, count] of lines) assert.ok(count <= (LONG[path] ?? MAX_LINES), `${path} has ${count} lines`)
    for (const path of Object.keys(LONG)) assert.ok((lines.get(path) ?? 0) > MAX_LINES, `${path} is no longer long`)
  })

  it('know no enum, no namespace, no parameter property: Node strips types, it compiles nothing', () => {
    for (const path of sources) {
      const text = withoutComments(read(path))
      assert.doesNotMatch(text, /^\s*(export )?(const )?enum /m, path)
      assert.doesNotMatch(text, /^\s*(export )?(declare )?namespace /m, path)
      assert.doesNotMatch(text, /constructor\([^)]*\b(private|public|readonly) /, path)
    }
  })

  it('have names that say what is inside', () => {
    const vague = /(^|[-/])(utils?|helpers?|managers?|common|misc|impl)(\.|-|\/)/
    assert.deepEqual(
      sources.filter(path => vague.test(path) && path !== 'src/shared/core/common-options.ts'),
      []
    )
  })
})

describe('tracked files', () => {
  const isClone = existsSync(join(root, '.git'))
  const listed = isClone
    ? execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0')
    : sources
  const tracked = listed.filter(path => path !== '' && existsSync(join(root, path)))
  const own = 'test/unit/architecture.test.ts'

  it('name no registry and no place on anybody’s machine', () => {
    // written so that the patterns do not match themselves
    const registry = /registry\.npmjs|npm\.pkg\.github|registry\.yarnpkg|"resolved":/
    const machine = /(?<![\w.:/])\/(work|root)\/(?!\*)|\/(home|Users)\/(?!ana\b)[a-z]\w*\/|[A-Z]:\\Users\\/
    for (const path of tracked.filter(each => each !== own)) {
      const text = read(path)
      assert.doesNotMatch(text, registry, path)
      assert.doesNotMatch(text, machine, path)
    }
  })

  it('pin every dependency to one version', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) assert.match(version, /^\d+\.\d+\.\d+$/, name)
    }
  })
})

function isCommandLine(path: string): boolean {
  return ['peer/cli', 'mains'].includes(placeOf(path)?.part ?? '')
}

function arrow({ from, to }: Import): string {
  return `${from} → ${to}`
}
