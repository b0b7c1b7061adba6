/** What an image is made of, as an SPDX 2.3 document (JSON): Debian packages, npm packages in the bundles, programs, each with what proves it. */

export interface Component {
  readonly name: string
  readonly version: string
  /** Package URL: https://github.com/package-url/purl-spec. */
  readonly purl?: string
  /** Lower-case hex, of the file or package. */
  readonly sha256?: string
}

export const debianComponent = (found: { name: string; version: string; sha256: string }): Component => ({
  ...found,
  purl: `pkg:deb/debian/${found.name}@${encodeURIComponent(found.version)}?arch=amd64`,
})

/** @param named `name@version` */
export const npmComponent = (named: string): Component => {
  const at = named.lastIndexOf('@')
  const [name, version] = [named.slice(0, at), named.slice(at + 1)]
  return { name, version, purl: `pkg:npm/${name.replace('@', '%40')}@${version}` }
}

/** Pure: the same components give the same text, so that an image's digest does not hang on the day. */
export const spdxDocument = (image: string, components: readonly Component[]): string => {
  const packages = components
    .toSorted((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1))
    .map(({ name, version, purl, sha256 }, index) => ({
      SPDXID: `SPDXRef-Package-${index}`,
      name,
      versionInfo: version,
      downloadLocation: 'NOASSERTION',
      filesAnalyzed: false,
      ...(sha256 ? { checksums: [{ algorithm: 'SHA256', checksumValue: sha256 }] } : {}),
      ...(purl
        ? { externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }] }
        : {}),
    }))
  return JSON.stringify({
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `forkyard-${image}`,
    documentNamespace: `https://forkyard.invalid/spdx/${image}`,
    creationInfo: { created: '1970-01-01T00:00:00Z', creators: ['Tool: forkyard'] },
    packages,
    relationships: packages.map(({ SPDXID }) => ({
      spdxElementId: 'SPDXRef-DOCUMENT',
      relationshipType: 'DESCRIBES',
      relatedSpdxElement: SPDXID,
    })),
  })
}
