//! Upload: encrypt, encode, place, send, and say so only once enough servers have made their shares durable.
//!
//! A file is read twice: once to find its key (the same file always gets the same one, so that it is stored once and an interrupted
//! upload finds its partial shares again), once to encode. Each segment of the second pass must match the hash the first pass kept;
//! what does not match is never sent. A stream is read once, under a random key.

mod batcher;
mod catalogue;
mod chunks;
mod error;
mod feed;
mod offer;
mod relay;
mod send;
mod small;
mod source;
mod trees;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use caps::{Cap, ImmutableRead, Literal, MAX_LITERAL_LEN};
use encoding::{
    ContentKey, EncodedObject, EncodedSegment, ErasureDecoder, Kind, ObjectBuilder, ObjectId, Params,
};
use protocol::NodeId;
use protocol::message::{Bytes16, LeaseTerms};

pub(crate) use batcher::{Parcel, SmallShares, dispatch};
pub use chunks::CHUNKED_FROM;
pub(crate) use chunks::ChunkWriter;
pub(crate) use error::SendError;
pub use error::{ShareFailure, UploadError};
pub(crate) use relay::{Consignment, Piece, relay};
pub(crate) use small::SmallEncoders;
pub use source::{BytesSource, FileSource, ReadAt, Source};
pub use trees::TreeKey;
pub(crate) use turns::Turns;

use crate::Client;
use crate::grid::Server;
use crate::placement::happiness;
use crate::progress::Transfer;
use crate::tags::{Tag, loose_tag};
use catalogue::Proofs;
use feed::{EncoderShelf, Feed, FileOrigin};
use send::Sending;
pub(crate) use source::Fingerprints;

/// How often a file that changes while it is read is started over.
const RESTARTS: usize = 3;

/// How a file shall be stored.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Watches and limits the transfer.
    pub transfer: Transfer,
    /// Cuts files of [`CHUNKED_FROM`] bytes and more by their content into chunks that are stored once each, so that a changed file costs
    /// what has changed.
    pub chunked: bool,
    /// The tag of the leases on what is stored; by default that of the root for whose sake the client works, if there is one.
    pub lease_tag: Option<[u8; 16]>,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct PutReport {
    /// The read cap.
    pub cap: Cap,
    /// Bytes of the file.
    pub size: u64,
    /// Of a file in chunks: the public salt of its root's descriptor, which with the key makes its repair cap.
    pub tree_salt: Option<[u8; 32]>,
    /// Bytes of shares that were sent.
    pub sent: u64,
    /// Where each share is.
    pub shares: BTreeMap<u16, Server>,
    /// Shares that were there already, of these.
    pub found: BTreeSet<u16>,
    /// How many servers hold a share of their own.
    pub happiness: usize,
    /// What went wrong on the way and was made up for.
    pub failures: Vec<ShareFailure>,
}

/// What kind of object an upload makes.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) id: ObjectId,
    /// Of a tree: the bytes it stands for, in place of those of the payload. `None` makes a direct object.
    pub(crate) tree_size: Option<u64>,
    pub(crate) directory: bool,
    pub(crate) lease_tag: Option<[u8; 16]>,
    /// Whether it is one of many that together are a file.
    pub(crate) part: bool,
}

impl Form {
    pub(crate) fn direct(id: ObjectId, lease_tag: Option<[u8; 16]>) -> Self {
        Self { id, tree_size: None, directory: false, lease_tag, part: false }
    }

    fn kind(&self) -> Kind {
        if self.tree_size.is_some() { Kind::Tree } else { Kind::Direct }
    }
}

/// Everything the parts of one upload share.
pub(crate) struct Upload {
    client: Client,
    params: Params,
    form: Form,
    id: ObjectId,
    key: ContentKey,
    upload_id: Bytes16,
    lease: LeaseTerms,
    /// Bytes of the file, where known from the start.
    size: Option<u64>,
    /// The finished object, where it is known before anything is sent, and what proves that a server holds a share of it.
    known: OnceLock<(EncodedObject, Proofs)>,
    encoders: EncoderShelf,
    transfer: Transfer,
}

impl Client {
    /// Stores a file and returns its read cap once at least `shares_happy` servers have made shares of it durable.
    ///
    /// # Errors
    ///
    /// [`UploadError`]; the shares that were sent so far stay on their servers, and putting the same file again goes on from there.
    pub async fn put(&self, source: Source, options: PutOptions) -> Result<PutReport, UploadError> {
        match source {
            Source::File(file) => {
                for _ in 0..RESTARTS {
                    let done = match options.chunked {
                        true => self.put_file_in_chunks(file.clone(), &options).await,
                        false => self.put_file(file.clone(), &options).await,
                    };
                    match done {
                        Err(UploadError::SourceChanged) => options.transfer.restart(),
                        done => return done,
                    }
                }
                Err(UploadError::SourceChanged)
            }
            Source::Stream(stream) if options.chunked => self.put_stream_in_chunks(stream, &options).await,
            Source::Stream(stream) => self.put_stream(stream, &options).await,
        }
    }

    async fn put_file(&self, file: Arc<dyn ReadAt>, options: &PutOptions) -> Result<PutReport, UploadError> {
        let size = file.len().map_err(UploadError::Source)?;
        options.transfer.expect(size);
        let params = self.params();
        if size <= MAX_LITERAL_LEN as u64 {
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(0, &mut bytes).map_err(UploadError::Source)?;
            return Ok(literal(bytes, &options.transfer));
        }
        if small::is_small(params, size) {
            return self.put_small_file(file, size, options).await;
        }
        let prints = source::fingerprint(&self.pool(), &file, size, params).await?;
        let id = ObjectId::convergent(self.convergence_secret(), params, Kind::Direct, size, &prints.whole);
        let form = Form::direct(id, options.lease_tag);
        self.put_object(file, size, prints, form, &options.transfer).await
    }

    /// Stores `len` bytes that can be read again as one object.
    pub(crate) async fn put_object(
        &self,
        file: Arc<dyn ReadAt>,
        len: u64,
        prints: Fingerprints,
        form: Form,
        transfer: &Transfer,
    ) -> Result<PutReport, UploadError> {
        if small::is_small(self.params(), len) && form.tree_size.is_some() {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(0, &mut bytes).map_err(UploadError::Source)?;
            return self.put_small_bytes(bytes.into(), prints.whole, form, transfer).await;
        }
        let upload_id = Bytes16(self.upload_id(&form.id));
        // Whoever comes second finds what the first one stored.
        let _turn = self.uploads().take(upload_id).await;
        let upload = Arc::new(self.upload(self.params(), form, upload_id, transfer, Some(len)));
        let origin = FileOrigin::new(file, len, prints);
        if let Some(known) = catalogue::known_object(&upload, origin.clone()).await? {
            let _ = upload.known.set(known);
        }
        upload.run(Feed::file(origin)).await
    }

    async fn put_stream(
        &self,
        mut stream: source::Reader,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let params = self.params();
        // One byte more than a small object tells whether there are more.
        let most = small::small_at_most(params) + 1;
        let head = source::read_up_to(&mut stream, most).await.map_err(UploadError::Source)?;
        if head.len() <= MAX_LITERAL_LEN {
            return Ok(literal(head.to_vec(), &options.transfer));
        }
        if head.len() < most && small::is_small(params, head.len() as u64) {
            return self.put_small_stream(head.freeze(), options).await;
        }
        let id = ObjectId::random(self.random().bytes());
        let form = Form::direct(id, options.lease_tag);
        let upload_id = Bytes16(self.random().bytes());
        let upload = Arc::new(self.upload(self.params(), form, upload_id, &options.transfer, None));
        upload.run(Feed::stream(head, stream)).await
    }

    fn upload(
        &self,
        params: Params,
        form: Form,
        upload_id: Bytes16,
        transfer: &Transfer,
        size: Option<u64>,
    ) -> Upload {
        let tag = self.lease_tag(form.lease_tag);
        Upload {
            client: self.clone(),
            params,
            key: ContentKey::of(&form.id, form.kind()),
            id: form.id.clone(),
            form,
            upload_id,
            lease: self.lease_terms(tag),
            size,
            known: OnceLock::new(),
            encoders: EncoderShelf::new(params),
            transfer: transfer.clone(),
        }
    }

    /// The tag of the leases on what is stored: what was asked for, that of the root the client works for, or that of no root.
    fn lease_tag(&self, wanted: Option<Tag>) -> Tag {
        wanted.or(self.root_tag()).unwrap_or_else(loose_tag)
    }

    /// The id under which servers keep the partial shares of this object for this client: the same again after a crash, and
    /// unknown to all who lack the convergence secret.
    fn upload_id(&self, id: &ObjectId) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(self.convergence_secret());
        hasher.update(b"sarsen v1 upload id\n").update(id.key.expose()).update(&id.salt);
        first_16(hasher.finalize())
    }
}

/// Whether the last k blocks of a segment give its data blocks back.
fn survives(decoder: &mut ErasureDecoder, params: Params, segment: &EncodedSegment) -> bool {
    let (needed, total) = (params.needed(), params.total());
    let tail = (total - needed..total).map(|number| (number, &segment.blocks[usize::from(number)][..]));
    let decoded = decoder.missing_data(&tail.collect::<Vec<_>>());
    let same = |number: u16, block: Vec<u8>| block == segment.blocks[usize::from(number)];
    decoded.is_ok_and(|blocks| blocks.into_iter().all(|(number, block)| same(number, block)))
}

fn first_16(hash: blake3::Hash) -> [u8; 16] {
    let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    *head
}

fn literal(bytes: Vec<u8>, transfer: &Transfer) -> PutReport {
    let size = bytes.len() as u64;
    transfer.expect(size);
    transfer.advance(size);
    let cap = Cap::Literal(Literal { bytes, directory: false });
    PutReport {
        cap,
        size,
        tree_salt: None,
        sent: 0,
        shares: BTreeMap::new(),
        found: BTreeSet::new(),
        happiness: 0,
        failures: Vec::new(),
    }
}

impl Upload {
    async fn run(self: Arc<Self>, mut feed: Feed) -> Result<PutReport, UploadError> {
        let upload = self;
        // A stream may take its time: no server is asked to wait for it before there is something to send.
        let mut first = match feed.origin() {
            Some(_) => None,
            None => feed.next(&upload).await?,
        };
        let mut sending = Sending::place(&upload, feed.origin()).await?;
        if sending.all_found() {
            // Every share is there already: nothing is read again and nothing is sent.
            let (object, _) = upload.known.get().expect("shares are found only where the object is known");
            upload.transfer.advance(object.descriptor.geometry.plaintext_len());
            return upload.report(object, sending).await;
        }
        let mut builder = upload.builder();
        loop {
            let next = match first.take() {
                Some(segment) => Some(segment),
                None => feed.next(&upload).await?,
            };
            let Some(segment) = next else { break };
            builder.add(&segment.encoded)?;
            upload.sample(&segment.encoded).await?;
            upload
                .transfer
                .throttle(segment.encoded.blocks.iter().map(|block| block.len() as u64).sum())
                .await;
            sending.block(&segment.encoded).await?;
            upload.transfer.advance(segment.plaintext_len);
        }
        let (size, hash) = feed.totals();
        let object = upload.finish(builder, size, &hash)?;
        sending.finish(&object).await?;
        upload.report(&object, sending).await
    }

    fn builder(&self) -> ObjectBuilder {
        ObjectBuilder::new(self.params, self.form.kind(), &self.id)
    }

    /// Finishes the object whose plaintext has `len` bytes and this hash.
    fn finish(
        &self,
        builder: ObjectBuilder,
        len: u64,
        hash: &[u8; 32],
    ) -> Result<EncodedObject, UploadError> {
        Ok(builder.finish_tree(len, self.form.tree_size.unwrap_or(len), hash)?)
    }

    /// Decodes a sample of segments from their last k blocks, so that a flipped bit in memory is found before success is reported.
    async fn sample(self: &Arc<Self>, segment: &EncodedSegment) -> Result<(), UploadError> {
        let wanted = match self.form.part {
            // One in 16, whichever they are: the id tells nobody else anything.
            true => segment.index == 0 && self.upload_id.0[0].is_multiple_of(16),
            false => segment.index.is_power_of_two() || segment.index.is_multiple_of(64),
        };
        if !wanted {
            return Ok(());
        }
        let (segment, upload) = (segment.clone(), self.clone());
        let check = move || survives(&mut upload.encoders.decoder(), upload.params, &segment);
        if self.client.pool().run(check).await { Ok(()) } else { Err(UploadError::SelfCheck) }
    }

    async fn report(&self, object: &EncodedObject, sending: Sending) -> Result<PutReport, UploadError> {
        let durable = sending.durable();
        let holdings: BTreeMap<u16, BTreeSet<NodeId>> =
            durable.iter().map(|(number, server)| (*number, BTreeSet::from([*server]))).collect();
        let happiness = happiness(&holdings);
        let wanted = self.client.shares_happy();
        let (found, sent, failures) = sending.into_outcome();
        if happiness < wanted {
            return Err(UploadError::NotHappy { happiness, wanted, failures });
        }
        if !found.is_empty() {
            self.client.hold(self.lease.tag.0, object.hash).await;
        }
        let params = self.params;
        let size = self.form.tree_size.unwrap_or(object.descriptor.geometry.plaintext_len());
        let cap = Cap::ImmutableRead(ImmutableRead {
            key: self.id.key.clone(),
            hash: object.hash,
            needed: params.needed(),
            total: params.total(),
            size,
            directory: self.form.directory,
        });
        let shares = durable.iter().map(|(number, id)| (*number, self.client.grid().server(id))).collect();
        let tree_salt = self.form.tree_size.map(|_| self.id.salt);
        Ok(PutReport { cap, size, tree_salt, sent, shares, found, happiness, failures })
    }
}
