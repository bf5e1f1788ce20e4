/** Options of a bucket in Google Cloud Storage. */
export interface GcsOptions {
  bucket: string;
  /** URL of the server; empty: Google's. */
  endpoint: string;
  /** Empty: the project of the credentials. */
  projectId: string;
  /** Path of a service account's key file; empty: the default credentials. */
  keyFile: string;
  /** Sends no credentials; for emulators. */
  anonymous: boolean;
  /** Storage class of objects that `put` and `assemble` write; empty: the bucket's default. */
  storageClass: string;
  /** Cloud KMS key for encryption; empty: the bucket's. */
  kmsKeyName: string;
  /** Metadata of every object. */
  tags: Readonly<Record<string, string>>;
  /** Objects above this size use a resumable upload with parts of this size. */
  partBytes: number;
}
