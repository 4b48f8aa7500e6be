import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire, isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'

/**
 * Makes `dist/`, the whole package that is published (docs/decisions/0014):
 *
 *     package.json        its own: what the bundle holds is no dependency, and nobody is given a Node
 *     index.js            the library, bundled
 *     types/              its types, by tsc
 *     bin/                the commands: a small loader each, which old Node versions can read
 *     chunks/             what they load; rarely needed parts stay apart and are loaded on demand
 *     README.md, docs/, … the README and what it leads to
 *     third-party.txt     what is bundled, with its licences
 *
 * Bundled because most of the time until a node listens goes into finding 600 small files: 198 ms as files,
 * 76 ms as a bundle, 62 ms with Node's compile cache (docs/performance.md).
 */
const ROOT = import.meta.dirname
const DIST = join(ROOT, 'dist')
/** Where tsc writes (tsconfig.build.json); what users can reach goes on to `types/`. */
const EMITTED = join(DIST, '.types')

/** Stay outside: native code, which lives in its own folders, and what is loaded only once somebody wants logs. */
const EXTERNAL = ['classic-level', 'pino', 'sodium-native']

/** Packages whose types are used where the user has them; where not, what comes from them is `any`. */
const TYPES_IF_INSTALLED = ['@libp2p/interface', 'node:stream']

/** The oldest Node that runs what is built: `await using` and type stripping came with it. */
const OLDEST_NODE = [24, 12] as const

const COMMANDS = {
  bootstrap: 'src/bootstrap/main.ts',
  peer: 'src/peer/main.ts'
} as const

/**
 * The first thing a command runs: says so when Node is too old to read the rest, switches the compile cache on, and
 * only then loads the rest. Only syntax and imports that Node 14 understands. The cache is in the user's own folder,
 * as where the source runs: what others could write to must not run as this user.
 */
function loader(command: string): string {
  const [major, minor] = OLDEST_NODE
  return `#!/usr/bin/env node
import * as nodeModule from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < ${major} || (major === ${major} && minor < ${minor})) {
  console.error('muster-${command} needs Node ${major}.${minor} or newer; this is ' + process.version + '. Get one at https://nodejs.org.')
  process.exit(1)
}
nodeModule.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'muster'))
await import('../chunks/${command}.js')
`
}

/** Packages in CommonJS that the code imports on demand. */
const COMMONJS_ON_DEMAND = /^prom-client$/

/** `await import()` of a CommonJS package has its names under Node; in a chunk of esbuild's it has `default` alone. */
const namedExports: Plugin = {
  name: 'named-exports',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: COMMONJS_ON_DEMAND }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, namespace: 'named-exports' } : undefined
    )
    onLoad({ filter: COMMONJS_ON_DEMAND, namespace: 'named-exports' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter(name => name !== 'default' && name !== 'module.exports')
      return { contents: `export { ${names.join(', ')} } from '${path}'`, resolveDir: ROOT }
    })
  }
}

/**
 * Node's own modules, taken without an ES module around them: making one reads every export, and reading `WebSocket`
 * of `node:http` loads all of undici, which costs ten times what `node:http` itself does.
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z:/_]+$/ }, ({ kind, path }) =>
      kind === 'import-statement' && isBuiltin(path) ? { path, namespace: 'builtin' } : undefined
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`
    }))
  }
}

/** The published `package.json`. What it has in common with the project's own is said there. */
function publishedManifest(): string {
  const { name, version, description, license, type, keywords, engines, dependencies } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8')
  )
  const manifest = {
    name,
    version,
    description,
    license,
    type,
    keywords,
    engines,
    exports: {
      '.': { types: './types/index.d.ts', default: './index.js' },
      './package.json': './package.json'
    },
    bin: Object.fromEntries(Object.keys(COMMANDS).map(command => [`muster-${command}`, `bin/${command}.js`])),
    dependencies: Object.fromEntries(EXTERNAL.map(external => [external, dependencies[external]]))
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

/**
 * A JSON file read by a path relative to its module goes into the bundle: modules are not where they were. For the
 * project's manifest it is the published one.
 */
const inlineJson: Plugin = {
  name: 'inline-json',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const contents = source.replaceAll(/createRequire\(import\.meta\.url\)\('(\.[^']+\.json)'\)/g, (_, relative) => {
        const file = join(dirname(path), relative)
        const json = file === join(ROOT, 'package.json') ? publishedManifest() : readFileSync(file, 'utf8')
        return `(${json.trim()})`
      })
      return { contents, loader: 'ts' }
    })
  }
}

async function bundle(): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: {
      index: 'src/index.ts',
      ...Object.fromEntries(Object.entries(COMMANDS).map(([command, main]) => [`chunks/${command}`, main]))
    },
    outdir: DIST,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: `node${OLDEST_NODE.join('.')}`,
    // Names and lines stay, so that a stack trace can be read.
    minifySyntax: true,
    legalComments: 'none', // third-party.txt has the licences
    external: EXTERNAL,
    plugins: [lazyBuiltins, namedExports, inlineJson],
    // Some CommonJS inside asks for Node's own modules.
    banner: { js: "import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);" },
    metafile: true,
    logLevel: 'warning'
  })
  return metafile
}

function emitTypes(): void {
  const require = createRequire(import.meta.url)
  const manifest = require.resolve('typescript/package.json')
  const { bin } = require(manifest) as { bin: { tsc: string } }
  const tsc = join(dirname(manifest), bin.tsc)
  const { status } = spawnSync(process.execPath, [tsc, '--project', 'tsconfig.build.json'], {
    cwd: ROOT,
    stdio: 'inherit'
  })
  if (status !== 0) process.exit(1) // tsc has said why
}

/**
 * Passes on the declarations that `index.d.ts` leads to, and sees to it that they need no package that users lack.
 * What only the inside calls is marked `@internal`, and tsc leaves it out with everything it would need.
 */
async function publishTypes(): Promise<void> {
  const files = new Set(['index.d.ts'])
  for (const file of files) {
    const emitted = await readFile(join(EMITTED, file), 'utf8')
    const published = emitted
      .replaceAll(/(?<=\b(?:from |import\())(['"])(\.[^'"]+)\.ts\1/g, (_, quote, path) => {
        files.add(join(dirname(file), `${path}.d.ts`))
        // Every compiler finds x.d.ts for './x.js'; './x.ts' is for those who allow it.
        return `${quote}${path}.js${quote}`
      })
      .replaceAll(
        /^(?:import|export) .*\bfrom '([^.'][^']*)';$|\bimport\(['"]([^.'"][^'"]*)['"]\)/gm,
        (line, from, inline) => {
          if (TYPES_IF_INSTALLED.includes(from)) return `// @ts-ignore: it may not be installed\n${line}`
          throw new Error(`the public types need ${from ?? inline}, in ${file}: mark what leads there @internal`)
        }
      )
    await write(join('types', file), published)
  }
  await rm(EMITTED, { recursive: true })
}

/** Copies the README and all that its links lead to, page by page; a link to a folder leads to every file in it. */
async function copyPages(): Promise<void> {
  const paths = new Set(['README.md'])
  for (const path of paths) {
    if ((await stat(join(ROOT, path))).isDirectory()) {
      for (const entry of await readdir(join(ROOT, path))) paths.add(join(path, entry))
      continue
    }
    const text = await readFile(join(ROOT, path), 'utf8')
    if (path.endsWith('.md')) {
      for (const [, link = ''] of text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
        if (!/^[a-z]+:/.test(link)) paths.add(normalize(join(dirname(path), link)).replace(/[\\/]$/, ''))
      }
    }
    // An example imports what its reader has.
    await write(path, text.replaceAll("'../src/index.ts'", "'muster'"))
  }
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(DIST, path)), { recursive: true })
  await writeFile(join(DIST, path), text)
}

/** Everybody whose code is in the bundle, with the licence text they ask to be passed on. */
async function thirdParty({ outputs }: Metafile): Promise<string> {
  const folders = new Set<string>()
  for (const output of Object.values(outputs)) {
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder)
    }
  }
  const sections: string[] = []
  for (const folder of [...folders].sort()) {
    const manifest = JSON.parse(await readFile(join(ROOT, folder, 'package.json'), 'utf8')) as Record<string, string>
    const files = (await readdir(join(ROOT, folder))).filter(file => /^(licen[cs]e|notice|copying)/i.test(file)).sort()
    const texts = await Promise.all(files.map(file => readFile(join(ROOT, folder, file), 'utf8')))
    sections.push([`${manifest.name} ${manifest.version} (${manifest.license})`, ...texts].join('\n\n').trim())
  }
  return `The bundle contains the work of others:\n\n${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

await rm(DIST, { recursive: true, force: true })
emitTypes()
await publishTypes()
const metafile = await bundle()
for (const command of Object.keys(COMMANDS)) {
  const path = join('bin', `${command}.js`)
  await write(path, loader(command))
  await chmod(join(DIST, path), 0o755)
}
await write('package.json', publishedManifest())
await copyPages()
await write('third-party.txt', await thirdParty(metafile))
