/** `target` with some members replaced; everything else is passed on. */
export function withOverrides<T extends object>(target: T, overrides: Partial<T>): T {
  return new Proxy(target, {
    get(inner, name) {
      const replaced = Reflect.get(overrides, name)
      if (replaced !== undefined) return typeof replaced === 'function' ? replaced.bind(overrides) : replaced
      const value = Reflect.get(inner, name)
      return typeof value === 'function' ? value.bind(inner) : value
    }
  })
}
