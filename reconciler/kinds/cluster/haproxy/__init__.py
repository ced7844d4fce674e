"""Routes of clusters in an HAProxy: its file is edited in marked regions, checked, replaced and loaded without a gap.

regions     where in the file we may write       routes      what stands there: add, remove, compare (both pure)
gateway     which HAProxy, from the settings     locking     one who edits a file at a time, over processes
replacing   a file's content, whole or not       checking    HAProxy's own opinion of a file
reloading   a running HAProxy takes the file     networks    its container is in the clusters' networks
installing  all of that, in order                listing     routes against records, for `reconciler cluster routes`

Called by `attachments.route` for one cluster, by the command line for all.
"""
