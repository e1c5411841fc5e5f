/** Places for so many watches: each is a stream that the API server and this process hold open. */
export type Places = {
  /** The answer gives the place back; undefined when there is none left, for anybody or for this namespace. */
  take(namespace: string): (() => void) | undefined
}

export function createPlaces(most: { node: number; namespace: number }): Places {
  const taken = new Map<string, number>()
  let all = 0

  return {
    take(namespace) {
      const own = taken.get(namespace) ?? 0
      if (all >= most.node || own >= most.namespace) return undefined
      all += 1
      taken.set(namespace, own + 1)
      let isLeft = false
      return () => {
        if (isLeft) return
        isLeft = true
        all -= 1
        const left = (taken.get(namespace) ?? 1) - 1
        if (left > 0) taken.set(namespace, left)
        else taken.delete(namespace)
      }
    },
  }
}
